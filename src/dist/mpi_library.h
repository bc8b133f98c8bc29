// The few functions of MPI that ranks need, as a table that one shared object of ours gives.
//
// Implementations of MPI have different binary interfaces, so what is compiled against the one that
// is installed stands apart from the program: levanter_mpi.so, which is opened where a launcher has
// started the process. Nothing else of ours includes mpi.h.
#pragma once

#include <cstddef>

namespace levanter::dist {

/// Functions that return int return 0 or an error code of MPI's.
struct MpiLibrary {
  /// Of this struct; another one is refused.
  static constexpr int kVersion = 2;
  static constexpr int kAnyRank = -1;
  int version;

  /// MPI_Init_thread, for calls from one thread.
  int (*start)(int* rank, int* ranks);
  /// MPI_Isend and MPI_Irecv of bytes; `request` is filled. `tag` is 0 or 1.
  int (*send)(const void* data, size_t bytes, int to, int tag, void** request);
  int (*receive)(void* data, size_t bytes, int from, int tag, void** request);
  /// MPI_Test; `done` says whether the request is complete, which then is null.
  int (*test)(void** request, int* done);
  /// MPI_Ibarrier.
  int (*meet)(void** request);
  /// MPI_Cancel of a receive; `test` says when it is done with, cancelled or not.
  int (*cancel)(void** request);
  int (*finish)();
  /// MPI_Abort: the launcher ends all ranks, those too that do not answer, and ends with `code`.
  int (*end_all)(int code);
  /// "Open MPI v4.1.4, ...", of `size` bytes with the zero.
  void (*describe)(char* text, size_t size);
  /// What an error code means.
  void (*explain)(int code, char* text, size_t size);
};

/// The shared object and what it exports: `const MpiLibrary* levanter_mpi()`.
inline constexpr const char* kMpiFile = "levanter_mpi.so";
inline constexpr const char* kMpiSymbol = "levanter_mpi";

}  // namespace levanter::dist
