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

/// Every rank's value, by rank.
template <class Value>
std::vector<Value> gather(Communicator& communicator, const Value& own) {
  const auto ranks = static_cast<size_t>(communicator.size());
  std::vector<Value> values(ranks);
  std::vector<Received> receive;
  for (Value& value : values)
    receive.push_back({reinterpret_cast<std::byte*>(&value), sizeof value});
  const Sent sent{reinterpret_cast<const std::byte*>(&own), sizeof own};
  communicator.exchange(std::vector<Sent>(ranks, sent), receive);
  return values;
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
  if (communicator.size() == 1) return mine;
  const std::vector<std::byte> answers = gather(communicator, std::byte{mine});
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
  std::vector<std::string> texts;
  for (const uint64_t length : gather(communicator, uint64_t{text.size()}))
    texts.emplace_back(length, '\0');
  std::vector<Received> receive;
  for (std::string& other : texts)
    receive.push_back({reinterpret_cast<std::byte*>(other.data()), other.size()});
  const Sent own{reinterpret_cast<const std::byte*>(text.data()), text.size()};
  communicator.exchange(std::vector<Sent>(texts.size(), own), receive);
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
  const std::vector<ErrorKind> kinds =
      gather(communicator, failure ? kind_of(failure) : ErrorKind{});
  const auto first =
      std::find_if(kinds.begin(), kinds.end(), [](ErrorKind kind) { return kind != ErrorKind{}; });
  if (first == kinds.end()) return;
  if (first - kinds.begin() == communicator.rank()) std::rethrow_exception(failure);
  throw Abandoned(*first);
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
