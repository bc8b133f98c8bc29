// The ids of short words that were met before, so that most words of a text cost one look-up.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

namespace levanter::text::hf {

/// Ids that are being collected: a vector that grows without asking at every id.
class Ids final {
 public:
  /// Room for `count` more ids; they count only after `advance`.
  int32_t* room(size_t count) {
    if (ids_.size() - size_ < count) ids_.resize(2 * ids_.size() + count + 64);
    return ids_.data() + size_;
  }
  void advance(size_t count) { size_ += count; }
  void push(int32_t id) {
    *room(1) = id;
    ++size_;
  }
  size_t size() const { return size_; }
  /// Forgets all but the first `size` ids.
  void cut(size_t size) { size_ = size; }
  std::vector<int32_t> take() {
    ids_.resize(size_);
    return std::move(ids_);
  }

 private:
  std::vector<int32_t> ids_;
  size_t size_ = 0;
};

/// A bounded map from words of at most kLongest bytes to at most kMostIds ids. Sets of two slots of
/// 32 bytes; a new word takes the place of the older one of its set.
class WordCache final {
 public:
  static constexpr size_t kLongest = 15, kMostIds = 4;

  /// A word as two numbers: its bytes, zeros, and its length in the last byte.
  struct Key {
    uint64_t low, high;
  };

  WordCache() : slots_(2 * kSets) {}

  /// The key of `length` bytes at `word`, 1 <= length <= kLongest; bytes up to `readable` may be
  /// read.
  static Key key_of(const char* word, size_t length, const char* readable) {
    uint64_t halves[2] = {};
    if (readable - word >= 16)
      std::memcpy(halves, word, 16);
    else
      std::memcpy(halves, word, length);
    // Shifting by 64 is undefined: a shift by one and the rest keeps within.
    const size_t low_bits = 8 * (length < 8 ? length : 8);
    const size_t high_bits = 8 * (length < 8 ? 0 : length - 8);
    halves[0] &= ~uint64_t{0} >> (63 - (low_bits - 1));
    halves[1] &= (uint64_t{1} << high_bits) - 1;
    halves[1] |= uint64_t{length} << 56;
    return {halves[0], halves[1]};
  }

  /// Appends the word's ids and returns true when it is known.
  bool append(const Key& key, Ids& out) const {
    const Slot* set = &slots_[2 * set_of(key)];
    for (int way = 0; way < 2; ++way) {
      const Slot& slot = set[way];
      if (slot.low != key.low || (slot.high & ~kCountMask) != key.high) continue;
      std::memcpy(out.room(kMostIds), slot.ids, sizeof slot.ids);
      out.advance(slot.high >> 60);
      return true;
    }
    return false;
  }

  /// Remembers the ids of a word, count <= kMostIds.
  void insert(const Key& key, const int32_t* ids, size_t count) {
    Slot* set = &slots_[2 * set_of(key)];
    set[1] = set[0];
    set[0].low = key.low;
    set[0].high = key.high | uint64_t{count} << 60;
    std::memcpy(set[0].ids, ids, count * sizeof *ids);
  }

 private:
  static constexpr size_t kSets = size_t{1} << 14;
  static constexpr uint64_t kCountMask = uint64_t{0xF} << 60;

  struct alignas(32) Slot {
    uint64_t low = 0, high = 0;  ///< the length is in bits 56 to 59 of high, the count above them
    int32_t ids[kMostIds] = {};
  };

  static size_t set_of(const Key& key) {
    const uint64_t mixed = (key.low ^ (key.high * 0x9E3779B97F4A7C15u)) * 0xD6E8FEB86659FD93u;
    return (mixed >> 40) & (kSets - 1);
  }

  std::vector<Slot> slots_;
};

/// Caches of one tokenizer that wait for a thread to encode with.
class WordCaches final {
 public:
  /// A cache for the length of a scope.
  class Lease final {
   public:
    explicit Lease(WordCaches& owner) : owner_(owner), cache_(owner.take()) {}
    ~Lease() { owner_.give_back(std::move(cache_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    WordCache& operator*() { return *cache_; }

   private:
    WordCaches& owner_;
    std::unique_ptr<WordCache> cache_;
  };

 private:
  std::unique_ptr<WordCache> take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<WordCache>();
    std::unique_ptr<WordCache> cache = std::move(idle_.back());
    idle_.pop_back();
    return cache;
  }
  void give_back(std::unique_ptr<WordCache> cache) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(cache));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<WordCache>> idle_;
};

}  // namespace levanter::text::hf
