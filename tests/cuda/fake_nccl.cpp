// An NCCL between emulated cards.
#include "cuda/fake_nccl.h"

#include "kernels/cuda/nccl.h"  // before what gives the runtime's words another meaning
#undef __forceinline__

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "cuda/fake_machine.h"

namespace levanter::testing {

namespace {

using Mistake = FakeNccl::Mistake;
using Clock = std::chrono::steady_clock;

/// Questions after a call until it has had its effect.
constexpr int kLateness = 2;
/// How long nothing may move while all that take part wait, before it is a fault.
constexpr std::chrono::seconds kLongest{20};

struct Op {
  bool sends = false;
  int peer = 0;
  std::byte* data = nullptr;
  size_t bytes = 0;
  bool done = false;
};
/// Sends and receives that begin together.
struct Group {
  std::vector<Op> ops;
  bool is_done() const {
    return std::all_of(ops.begin(), ops.end(), [](const Op& op) { return op.done; });
  }
};
struct Comm;
/// The ranks that join by one invitation.
struct World {
  int ranks = 0;
  std::map<int, Comm*> comms;  ///< by rank
  int finalized = 0;
  Clock::time_point moved = Clock::now();
};
struct Comm {
  std::shared_ptr<World> world;
  int rank = 0, card = 0;
  int questions = kLateness;  ///< until the last call has its effect
  std::vector<std::pair<CUstream, std::shared_ptr<Group>>> late = {};  ///< not on a stream yet
  Group* front = nullptr;                                              ///< what its stream is at
  ncclResult_t error = ncclSuccess;
  bool joined = false, finalizing = false, aborted = false;
};

}  // namespace

struct FakeNccl::State {
  std::map<std::string, std::shared_ptr<World>> worlds;  ///< by invitation
  std::set<Comm*> comms;
  std::vector<std::unique_ptr<Comm>> ended;  ///< to which work on a stream may still refer
  std::vector<std::string> groups;
  Mistake mistake = Mistake::kNone;
  int mistaken = FakeNccl::kAllRanks, cut = -1, version = 22809;
  int64_t calls = 0, failing_call = -1, invitations = 0, moved = 0, aborted = 0;
  std::string fault;

  bool has(Mistake planted, int rank) const {
    return mistake == planted && (mistaken == FakeNccl::kAllRanks || mistaken == rank);
  }
};

namespace {

using State = FakeNccl::State;
State* library = nullptr;

thread_local int depth = 0;
thread_local std::vector<std::pair<Comm*, std::pair<CUstream, Op>>> grouped;

/// One call of the library, failing when its turn is.
template <class Call>
ncclResult_t called(Call&& call) {
  const std::lock_guard lock(fake::machine->mutex);
  if (++library->calls == library->failing_call) return ncclInternalError;
  return call(*library);
}

Comm* comm_of(ncclComm_t handle) {
  auto* const comm = reinterpret_cast<Comm*>(handle);
  return library->comms.contains(comm) ? comm : nullptr;
}

ncclResult_t tell(std::string fault, ncclResult_t result = ncclInvalidUsage) {
  if (library->fault.empty()) library->fault = std::move(fault);
  return result;
}

void break_world(World& world, std::string fault) {
  tell(std::move(fault));
  for (const auto& [rank, comm] : world.comms) comm->error = ncclInvalidUsage;
  fake::machine->moved.notify_all();
}

std::string words_of(const Op& op) {
  return cat(op.sends ? "send " : "receive ", op.bytes, op.sends ? " to " : " from ", op.peer);
}
std::string words_of(const Comm& comm, const Group& group) {
  std::vector<std::string> ops;
  for (const Op& op : group.ops) ops.push_back(words_of(op));
  return cat(comm.rank, ": ", join(ops, ", "));
}

void copy(const Comm& from, const Comm& to, const Op& send, const Op& receive) {
  fake::machine->protect(from.card, PROT_READ | PROT_WRITE);
  fake::machine->protect(to.card, PROT_READ | PROT_WRITE);
  std::memcpy(receive.data, send.data, send.bytes);
}

/// Moves all that has a sender and a receiver whose streams have come to it. False where something
/// is wrong.
bool match(World& world) {
  for (const auto& [a, sender] : world.comms)
    for (const auto& [b, receiver] : world.comms) {
      if (!sender->front || !receiver->front) continue;
      const auto next = [](Group& group, bool sends, int peer) {
        return std::find_if(group.ops.begin(), group.ops.end(), [&](const Op& op) {
          return op.sends == sends && op.peer == peer && !op.done;
        });
      };
      for (;;) {
        const auto send = next(*sender->front, true, b), receive = next(*receiver->front, false, a);
        if (send == sender->front->ops.end() || receive == receiver->front->ops.end()) break;
        if (send->bytes != receive->bytes) {
          break_world(world, cat("rank ", a, " sends ", send->bytes, " bytes to rank ", b,
                                 ", which receives ", receive->bytes));
          return false;
        }
        copy(*sender, *receiver, *send, *receive);
        library->moved += static_cast<int64_t>(send->bytes);
        send->done = receive->done = true;
        world.moved = Clock::now();
        fake::machine->moved.notify_all();
      }
    }
  return true;
}

/// Whether every rank waits, and none for something that can still come.
bool is_deadlock(const World& world) {
  if (static_cast<int>(world.comms.size()) < world.ranks) return false;
  return std::all_of(world.comms.begin(), world.comms.end(), [](const auto& of_rank) {
    return of_rank.second->front && !of_rank.second->front->is_done();
  });
}

/// What a stream does that has come to a group.
CUresult advance(Comm& comm, Group& group) {
  if (comm.aborted) return CUDA_SUCCESS;
  if (comm.error != ncclSuccess) return CUDA_ERROR_NOT_READY;  // as its kernel waits to be aborted
  if (library->has(Mistake::kAbsent, comm.rank)) return CUDA_ERROR_NOT_READY;
  World& world = *comm.world;
  comm.front = &group;
  const bool right = match(world);
  for (const auto& [rank, other] : world.comms)
    if (other->card != comm.card) fake::machine->protect(other->card, PROT_NONE);
  if (!right) return CUDA_ERROR_NOT_READY;
  if (group.is_done()) {
    comm.front = nullptr;
    return CUDA_SUCCESS;
  }
  if (is_deadlock(world)) {
    std::string waits;
    for (const auto& [rank, other] : world.comms)
      waits += cat(waits.empty() ? "" : "; ", words_of(*other, *other->front));
    break_world(world, cat("the ranks wait for each other: ", waits));
  }
  return CUDA_ERROR_NOT_READY;
}

/// Puts what was late on its stream.
void enqueue_late(Comm& comm) {
  for (auto& [stream, group] : comm.late)
    if (fake::machine->enqueue(stream, [&comm, group = std::move(group)] {
          return advance(comm, *group);
        }) != CUDA_SUCCESS)
      comm.error = tell("a stream of another card, or none");
  comm.late.clear();
}

void end_group() {
  std::map<std::pair<Comm*, CUstream>, std::shared_ptr<Group>> groups;
  for (auto& [comm, work] : grouped) {
    auto& group = groups[{comm, work.first}];
    if (!group) group = std::make_shared<Group>();
    group->ops.push_back(work.second);
  }
  grouped.clear();
  for (auto& [key, group] : groups) {
    const auto& [comm, stream] = key;
    library->groups.push_back(words_of(*comm, *group));
    comm->late.emplace_back(stream, std::move(group));
    comm->questions = kLateness;
  }
}

ncclResult_t add(Op op, ncclComm_t handle, cudaStream_t stream) {
  return called([&](State& s) {
    Comm* const comm = comm_of(handle);
    const bool alone = comm && s.has(Mistake::kNoGroup, comm->rank);
    if (!comm || !comm->joined || comm->finalizing || (comm->questions > 0 && !alone))
      return tell("a communicator that is not ready", ncclInvalidArgument);
    if (op.peer < 0 || op.peer >= comm->world->ranks || op.bytes == 0)
      return tell("a peer or a size that cannot be", ncclInvalidArgument);
    if (fake::current_card() != comm->card)
      return tell("a card that is not the communicator's", ncclInvalidUsage);
    if (!fake::machine->is_memory(reinterpret_cast<CUdeviceptr>(op.data), op.bytes, comm->card))
      return tell("memory that is not the card's", ncclInvalidArgument);
    if (op.sends && s.has(Mistake::kShortSend, comm->rank)) --op.bytes;
    grouped.emplace_back(comm, std::pair(reinterpret_cast<CUstream>(stream), op));
    if (depth == 0 || alone) end_group();
    return depth == 0 ? ncclInProgress : ncclSuccess;
  });
}

ncclResult_t join_world(ncclComm_t* handle, int ranks, ncclUniqueId id, int rank,
                        ncclConfig_t* config) {
  return called([&](State& s) {
    const int card = fake::current_card();
    if (!config || config->blocking != 0 || card < 0) return tell("a call that would block");
    const auto found = s.worlds.find({id.internal, sizeof id.internal});
    if (found == s.worlds.end()) return tell("an invitation that was not made");
    World& world = *found->second;
    world.ranks = ranks;
    for (const auto& [other, comm] : world.comms)
      if (other == rank || comm->card == card) return tell("two ranks on one card");
    auto* const comm = new Comm{found->second, rank, card};
    s.comms.insert(comm);
    world.comms[rank] = comm;
    *handle = reinterpret_cast<ncclComm_t>(comm);
    return ncclInProgress;
  });
}

ncclResult_t ask(ncclComm_t handle, ncclResult_t* result) {
  return called([&](State& s) {
    Comm* const comm = comm_of(handle);
    if (!comm) return ncclInvalidArgument;
    if (depth > 0) return tell(cat("rank ", comm->rank, " has begun a group and not ended it"));
    World& world = *comm->world;
    if (s.cut >= 0 && comm->rank != s.cut) comm->error = ncclRemoteError;
    const bool waits = comm->front && comm->error == ncclSuccess;
    if (waits && Clock::now() - world.moved > kLongest)
      break_world(world, "nothing has moved for long");
    *result = comm->error;
    if (comm->error != ncclSuccess) return ncclSuccess;
    if (comm->finalizing)
      *result = world.finalized == world.ranks ? ncclSuccess : ncclInProgress;
    else if (static_cast<int>(world.comms.size()) < world.ranks || --comm->questions > 0)
      *result = ncclInProgress;
    if (*result == ncclSuccess && !comm->finalizing) {
      comm->joined = true;
      enqueue_late(*comm);
    }
    comm->questions = std::max(comm->questions, 0);
    return ncclSuccess;
  });
}

/// Takes the communicator back; work on a stream that refers to it does nothing any more, and no
/// other rank waits for it to end.
void take_back(State& s, Comm* comm) {
  if (!comm->finalizing) ++comm->world->finalized;
  s.comms.erase(comm);
  comm->aborted = true;
  comm->front = nullptr;
  s.ended.emplace_back(comm);
  fake::machine->moved.notify_all();
}

void add_communicators(cuda::Nccl& n) {
  n.get_version = [](int* version) {
    return called([&](State& s) {
      *version = s.version;
      return ncclSuccess;
    });
  };
  n.get_error_string = [](ncclResult_t result) {
    return result == ncclRemoteError ? "remote process exited or there was a network error"
                                     : "as the fake was told";
  };
  n.get_last_error = [](ncclComm_t) -> const char* { return library->fault.c_str(); };
  n.get_unique_id = [](ncclUniqueId* id) {
    return called([&](State& s) {
      *id = {};
      id->internal[0] = static_cast<char>(++s.invitations);
      s.worlds[{id->internal, sizeof id->internal}] = std::make_shared<World>();
      return ncclSuccess;
    });
  };
  n.comm_init = join_world;
  n.comm_get_async_error = ask;
  n.comm_finalize = [](ncclComm_t handle) {
    return called([&](State&) {
      Comm* const comm = comm_of(handle);
      if (!comm || comm->finalizing) return ncclInvalidArgument;
      comm->finalizing = true;
      ++comm->world->finalized;
      return ncclInProgress;
    });
  };
  n.comm_destroy = [](ncclComm_t handle) {
    return called([&](State& s) {
      Comm* const comm = comm_of(handle);
      if (!comm || comm->world->finalized < comm->world->ranks) return ncclInvalidArgument;
      take_back(s, comm);
      return ncclSuccess;
    });
  };
  n.comm_abort = [](ncclComm_t handle) {
    return called([&](State& s) {
      Comm* const comm = comm_of(handle);
      if (!comm) return ncclInvalidArgument;
      ++s.aborted;
      take_back(s, comm);
      return ncclSuccess;
    });
  };
}

cuda::Nccl functions() {
  cuda::Nccl n;
  add_communicators(n);
  n.group_start = [] {
    return called([](State&) {
      ++depth;
      return ncclSuccess;
    });
  };
  n.group_end = [] {
    return called([](State& s) {
      if (depth == 0) return tell("an end without a group");
      if (!grouped.empty() && s.has(Mistake::kNoGroupEnd, grouped.front().first->rank))
        return ncclSuccess;
      if (--depth == 0) end_group();
      return ncclInProgress;
    });
  };
  n.send = [](const void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
              cudaStream_t stream) {
    if (type != ncclUint8) return ncclInvalidArgument;
    return add({true, peer, static_cast<std::byte*>(const_cast<void*>(data)), count}, comm, stream);
  };
  n.receive = [](void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                 cudaStream_t stream) {
    if (type != ncclUint8) return ncclInvalidArgument;
    return add({false, peer, static_cast<std::byte*>(data), count}, comm, stream);
  };
  return n;
}

}  // namespace

FakeNccl::FakeNccl() : state_(std::make_unique<State>()) {
  LEV_CHECK(!library, "there is one NCCL already");
  library = state_.get();
  depth = 0;
  grouped.clear();
  attach_nccl(functions);
}

FakeNccl::~FakeNccl() {
  attach_nccl(nullptr);
  for (Comm* comm : state_->comms) delete comm;  // the test's to tell, not the sanitizer's
  library = nullptr;
}

void FakeNccl::plant(Mistake mistake, int rank) {
  const std::lock_guard lock(fake::machine->mutex);
  state_->mistake = mistake;
  state_->mistaken = rank;
}
void FakeNccl::fail(int64_t call) { state_->failing_call = state_->calls + call; }
void FakeNccl::cut_off(int rank) {
  const std::lock_guard lock(fake::machine->mutex);
  state_->cut = rank;
}
void FakeNccl::set_version(int version) { state_->version = version; }

int64_t FakeNccl::calls() const { return state_->calls; }
int64_t FakeNccl::moved() const { return state_->moved; }
std::vector<std::string> FakeNccl::groups() const { return state_->groups; }
int64_t FakeNccl::living() const { return std::ssize(state_->comms); }
int64_t FakeNccl::aborted() const { return state_->aborted; }
std::string FakeNccl::fault() const { return state_->fault; }

}  // namespace levanter::testing
