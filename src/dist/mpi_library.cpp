// levanter_mpi.so: MPI's functions behind the table of mpi_library.h.
#include "dist/mpi_library.h"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace {

using levanter::dist::MpiLibrary;

/// Apart from MPI_COMM_WORLD, so that nobody else's messages match ours.
MPI_Comm ours = MPI_COMM_NULL;

void copy_text(const char* from, char* text, size_t size) {
  const size_t length = std::min(std::strlen(from), size - 1);
  std::memcpy(text, from, length);
  text[length] = '\0';
}

int start(int* rank, int* ranks) {
  int provided = 0;
  // One thread at a time, not always the same one: see dist/parameter_gather.h.
  if (const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided))
    return code;
  if (provided < MPI_THREAD_SERIALIZED) return MPI_ERR_UNSUPPORTED_OPERATION;
  if (const int code = MPI_Comm_dup(MPI_COMM_WORLD, &ours)) return code;
  MPI_Comm_set_errhandler(ours, MPI_ERRORS_RETURN);
  MPI_Comm_rank(ours, rank);
  return MPI_Comm_size(ours, ranks);
}

/// Keeps the request that `begin` starts.
template <class Begin>
int keep(void** request, Begin&& begin) {
  auto* const started = new MPI_Request(MPI_REQUEST_NULL);
  *request = started;
  return begin(started);
}

int send(const void* data, size_t bytes, int to, int tag, void** request) {
  return keep(request, [&](MPI_Request* started) {
    return MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, tag, ours, started);
  });
}

int receive(void* data, size_t bytes, int from, int tag, void** request) {
  const int source = from == MpiLibrary::kAnyRank ? MPI_ANY_SOURCE : from;
  return keep(request, [&](MPI_Request* started) {
    return MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, source, tag, ours, started);
  });
}

int test(void** request, int* done) {
  auto* const started = static_cast<MPI_Request*>(*request);
  const int code = MPI_Test(started, done, MPI_STATUS_IGNORE);
  if (code == MPI_SUCCESS && *done) {
    delete started;
    *request = nullptr;
  }
  return code;
}

int meet(void** request) {
  return keep(request, [](MPI_Request* started) { return MPI_Ibarrier(ours, started); });
}

int cancel(void** request) { return MPI_Cancel(static_cast<MPI_Request*>(*request)); }

int finish() { return MPI_Finalize(); }

int end_all(int code) { return MPI_Abort(MPI_COMM_WORLD, code); }

void describe(char* text, size_t size) {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> version{};
  int length = 0;
  MPI_Get_library_version(version.data(), &length);
  copy_text(version.data(), text, size);
}

void explain(int code, char* text, size_t size) {
  std::array<char, MPI_MAX_ERROR_STRING> words{};
  int length = 0;
  MPI_Error_string(code, words.data(), &length);
  copy_text(words.data(), text, size);
}

constexpr MpiLibrary kLibrary = {
    .version = MpiLibrary::kVersion,
    .start = start,
    .send = send,
    .receive = receive,
    .test = test,
    .meet = meet,
    .cancel = cancel,
    .finish = finish,
    .end_all = end_all,
    .describe = describe,
    .explain = explain,
};

}  // namespace

extern "C" const MpiLibrary* levanter_mpi() { return &kLibrary; }
