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

/// An exchange in which only `root` sends: to each rank what it has for it.
void exchange_from(Communicator& communicator, int64_t root, std::vector<Sent> send,
                   Received receive) {
  std::vector<Received> received(static_cast<size_t>(communicator.size()));
  received[static_cast<size_t>(root)] = receive;
  if (communicator.rank() != root) send.assign(received.size(), {});
  communicator.exchange(send, received);
}

/// An exchange in which only `root` receives: what each rank has for it.
void exchange_to(Communicator& communicator, int64_t root, Sent send,
                 std::vector<Received> receive) {
  std::vector<Sent> sent(static_cast<size_t>(communicator.size()));
  sent[static_cast<size_t>(root)] = send;
  if (communicator.rank() != root) receive.assign(sent.size(), {});
  communicator.exchange(sent, receive);
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
  std::vector<Sent> send(static_cast<size_t>(communicator.size()), {bytes.data(), bytes.size()});
  Received receive{bytes.data(), bytes.size()};
  if (communicator.rank() == root) {
    send[static_cast<size_t>(root)] = {};
    receive = {};
  }
  exchange_from(communicator, root, std::move(send), receive);
}

std::string broadcast_text(Communicator& communicator, std::string_view text, int64_t root) {
  uint64_t length = text.size();
  broadcast(communicator, std::as_writable_bytes(std::span(&length, 1)), root);
  std::string told(text);
  told.resize(length);
  if (length > 0) broadcast(communicator, std::as_writable_bytes(std::span(told)), root);
  return told;
}

std::string scatter_texts(Communicator& communicator, std::span<const std::string> texts,
                          int64_t root) {
  std::vector<uint64_t> lengths;
  std::vector<Sent> send_lengths, send;
  for (const std::string& text : texts) {
    lengths.push_back(text.size());
    send.push_back({reinterpret_cast<const std::byte*>(text.data()), text.size()});
  }
  for (const uint64_t& length : lengths)
    send_lengths.push_back({reinterpret_cast<const std::byte*>(&length), sizeof length});
  uint64_t length = 0;
  exchange_from(communicator, root, std::move(send_lengths),
                {reinterpret_cast<std::byte*>(&length), sizeof length});
  std::string own(length, '\0');
  exchange_from(communicator, root, std::move(send),
                {reinterpret_cast<std::byte*>(own.data()), own.size()});
  return own;
}

std::vector<std::string> collect_texts(Communicator& communicator, std::string_view text,
                                       int64_t root) {
  const uint64_t own = text.size();
  std::vector<uint64_t> lengths(static_cast<size_t>(communicator.size()));
  std::vector<Received> receive;
  for (uint64_t& length : lengths)
    receive.push_back({reinterpret_cast<std::byte*>(&length), sizeof length});
  exchange_to(communicator, root, {reinterpret_cast<const std::byte*>(&own), sizeof own}, receive);
  std::vector<std::string> texts;
  for (const uint64_t length : lengths) texts.emplace_back(length, '\0');
  for (size_t r = 0; r < texts.size(); ++r)
    receive[r] = {reinterpret_cast<std::byte*>(texts[r].data()), texts[r].size()};
  exchange_to(communicator, root, {reinterpret_cast<const std::byte*>(text.data()), text.size()},
              receive);
  return texts;
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
