// What is built on exchange, and the running of a process's ranks.
#include "dist/communicator.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "base/limits.h"
#include "base/strings.h"

namespace levanter::dist {

namespace {

ErrorKind kind_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    return e.kind();
  } catch (const Abandoned& e) {
    return e.kind();
  } catch (const std::bad_alloc&) {
    return ErrorKind::kDevice;
  } catch (...) {
    return ErrorKind::kInternal;
  }
}

/// Whether a rank was only told of another's end.
bool was_told(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Abandoned&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

const CommunicatorEntry& entry(std::string_view name) {
  for (const CommunicatorEntry* candidate : entries())
    if (candidate->name == name) return *candidate;
  throw Error(ErrorKind::kInternal, cat("there is no communicator ", quote(name)));
}

bool any(Communicator& communicator, bool mine) {
  const auto ranks = static_cast<size_t>(communicator.size());
  if (ranks == 1) return mine;
  const std::byte own{mine};
  std::vector<std::byte> answers(ranks);
  std::vector<Received> receive;
  for (std::byte& answer : answers) receive.push_back({&answer, 1});
  communicator.exchange(std::vector<Sent>(ranks, Sent{&own, 1}), receive);
  return std::find(answers.begin(), answers.end(), std::byte{1}) != answers.end();
}

void broadcast(Communicator& communicator, std::span<std::byte> bytes, int64_t root) {
  const auto ranks = static_cast<size_t>(communicator.size());
  std::vector<Sent> send(ranks);
  std::vector<Received> receive(ranks);
  if (communicator.rank() == root) {
    for (size_t r = 0; r < ranks; ++r)
      if (static_cast<int64_t>(r) != root) send[r] = {bytes.data(), bytes.size()};
  } else {
    receive[static_cast<size_t>(root)] = {bytes.data(), bytes.size()};
  }
  communicator.exchange(send, receive);
}

std::string broadcast_text(Communicator& communicator, std::string_view text, int64_t root) {
  uint64_t length = text.size();
  broadcast(communicator, std::as_writable_bytes(std::span(&length, 1)), root);
  std::string told(text);
  told.resize(length);
  if (length > 0) broadcast(communicator, std::as_writable_bytes(std::span(told)), root);
  return told;
}

void barrier(Communicator& communicator) { any(communicator, false); }

std::vector<std::string> gather_texts(Communicator& communicator, std::string_view text) {
  const auto ranks = static_cast<size_t>(communicator.size());
  const uint64_t own = text.size();
  std::vector<uint64_t> lengths(ranks);
  std::vector<Received> receive;
  for (uint64_t& length : lengths)
    receive.push_back({reinterpret_cast<std::byte*>(&length), sizeof length});
  communicator.exchange(
      std::vector<Sent>(ranks, Sent{reinterpret_cast<const std::byte*>(&own), sizeof own}),
      receive);
  std::vector<std::string> texts(ranks);
  for (size_t r = 0; r < ranks; ++r) {
    texts[r].resize(lengths[r]);
    receive[r] = {reinterpret_cast<std::byte*>(texts[r].data()), texts[r].size()};
  }
  communicator.exchange(
      std::vector<Sent>(ranks, Sent{reinterpret_cast<const std::byte*>(text.data()), text.size()}),
      receive);
  return texts;
}

std::vector<Place> gather_places(Communicator& communicator) {
  std::vector<Place> places;
  const std::vector<std::string> hosts = gather_texts(communicator, host_name());
  const std::vector<std::string> processors = gather_texts(communicator, usable_processors());
  for (size_t r = 0; r < hosts.size(); ++r) places.push_back({hosts[r], processors[r]});
  return places;
}

void agree(Communicator& communicator, const std::exception_ptr& failure) {
  const auto ranks = static_cast<size_t>(communicator.size());
  const auto own = static_cast<std::byte>(failure ? kind_of(failure) : ErrorKind{});
  std::vector<std::byte> kinds(ranks);
  std::vector<Received> receive;
  for (std::byte& kind : kinds) receive.push_back({&kind, 1});
  communicator.exchange(std::vector<Sent>(ranks, Sent{&own, 1}), receive);
  const auto first =
      std::find_if(kinds.begin(), kinds.end(), [](std::byte kind) { return kind != std::byte{}; });
  if (first == kinds.end()) return;
  if (first - kinds.begin() == communicator.rank()) std::rethrow_exception(failure);
  throw Abandoned(static_cast<ErrorKind>(*first));
}

void run_ranks(const CommunicatorEntry& kind, int64_t ranks, const RankBody& body) {
  std::mutex mutex;
  std::map<int64_t, std::exception_ptr> errors;  // by rank
  kind.launch(ranks, [&](Communicator& communicator) {
    try {
      body(communicator);
    } catch (...) {
      const std::exception_ptr error = std::current_exception();
      communicator.abandon(kind_of(error));
      const std::lock_guard lock(mutex);
      errors[communicator.rank()] = error;
    }
  });
  for (const auto& [rank, error] : errors)
    if (!was_told(error)) std::rethrow_exception(error);
  if (!errors.empty()) std::rethrow_exception(errors.begin()->second);
}

}  // namespace levanter::dist
