// A file's content as a stream of bytes, gzip and zstd taken off.
#include "data/files/decompress.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <zlib.h>
#include <zstd.h>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "net/http.h"

namespace levanter::data {
namespace {

constexpr std::string_view kGzipMagic = "\x1F\x8B";
constexpr std::string_view kZstdMagic = "\x28\xB5\x2F\xFD";
constexpr size_t kPackedBytes = size_t{1} << 18;
constexpr size_t kLargestPiece = size_t{1} << 30;  // zlib counts in 32 bits

[[noreturn]] void throw_damaged(const std::string& name, std::string_view format,
                                std::string_view how) {
  throw Error(ErrorKind::kData, cat("the ", format, " file is damaged: ", how))
      .at(name)
      .hint(cat("fetch or compress it again; ", format, " -t tests a file"));
}

/// The file's own bytes, some of them ahead of what was taken.
class PackedInput final : public ByteReader {
 public:
  explicit PackedInput(const std::string& path) : buffer_(kPackedBytes) {
    if (net::is_url(path))
      http_.emplace(path);
    else
      file_.emplace(path);
  }

  const std::string& name() const { return http_ ? http_->name() : file_->name(); }
  int64_t bytes_taken() const override { return read_ - static_cast<int64_t>(end_ - begin_); }
  std::string_view ahead() const { return {buffer_.data() + begin_, end_ - begin_}; }
  void take(size_t count) { begin_ += count; }

  /// Reads until `count` bytes are ahead; false when the file ends before.
  bool need(size_t count) {
    while (end_ - begin_ < count) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= std::exchange(begin_, 0);
      const size_t n = read_raw(std::span(buffer_).subspan(end_));
      if (n == 0) return false;
      end_ += n;
      read_ += static_cast<int64_t>(n);
    }
    return true;
  }
  /// Takes what is ahead, then reads past the buffer.
  size_t read(std::span<char> out) override {
    if (begin_ == end_) {
      const size_t n = read_raw(out);
      read_ += static_cast<int64_t>(n);
      return n;
    }
    const size_t n = ahead().copy(out.data(), out.size());
    take(n);
    return n;
  }

 private:
  size_t read_raw(std::span<char> out) { return http_ ? http_->read(out) : file_->read(out); }

  std::optional<SequentialFile> file_;
  std::optional<net::HttpStream> http_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  int64_t read_ = 0;
};

/// Reads what a packed file holds.
class Unpacker : public ByteReader {
 public:
  explicit Unpacker(std::unique_ptr<PackedInput> input) : input_(std::move(input)) {}
  int64_t bytes_taken() const final { return input_->bytes_taken(); }

 protected:
  std::unique_ptr<PackedInput> input_;
};

class GzipReader final : public Unpacker {
 public:
  explicit GzipReader(std::unique_ptr<PackedInput> input) : Unpacker(std::move(input)) {
    LEV_CHECK(inflateInit2(&stream_, 15 + 16) == Z_OK, "zlib can't start");
  }
  ~GzipReader() override { inflateEnd(&stream_); }

  size_t read(std::span<char> out) override {
    while (!ended_) {
      const bool more = input_->need(1);
      const std::string_view packed = input_->ahead();
      const auto room = static_cast<uInt>(std::min(out.size(), kLargestPiece));
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
      stream_.avail_in = static_cast<uInt>(packed.size());
      stream_.next_out = reinterpret_cast<Bytef*>(out.data());
      stream_.avail_out = room;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      input_->take(packed.size() - stream_.avail_in);
      const size_t made = room - stream_.avail_out;
      if (status == Z_STREAM_END) {
        end_member();
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        throw_damaged(input_->name(), "gzip",
                      stream_.msg != nullptr ? stream_.msg : "its data can't be read");
      } else if (!more && made == 0) {
        throw_damaged(input_->name(), "gzip", "it ends too early");
      }
      if (made > 0) return made;
    }
    return 0;
  }

 private:
  /// Zeros may follow a member, then another one; nothing else.
  void end_member() {
    while (input_->need(1) && input_->ahead().starts_with('\0')) input_->take(1);
    ended_ = !input_->need(1);
    if (ended_) return;
    input_->need(kGzipMagic.size());
    if (!input_->ahead().starts_with(kGzipMagic))
      throw_damaged(input_->name(), "gzip",
                    cat("something else follows its data at byte ", input_->bytes_taken()));
    inflateReset(&stream_);
  }

  z_stream stream_{};
  bool ended_ = false;
};

class ZstdReader final : public Unpacker {
 public:
  explicit ZstdReader(std::unique_ptr<PackedInput> input)
      : Unpacker(std::move(input)), stream_(ZSTD_createDStream()) {
    LEV_CHECK(stream_ != nullptr, "zstd can't start");
    // Files made by zstd --long ask for windows of up to 2 GiB.
    ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, 31);
  }
  ~ZstdReader() override { ZSTD_freeDStream(stream_); }

  size_t read(std::span<char> out) override {
    for (;;) {
      const bool more = input_->need(1);
      if (!more && between_frames_) return 0;
      const std::string_view packed = input_->ahead();
      ZSTD_inBuffer in{packed.data(), packed.size(), 0};
      ZSTD_outBuffer made{out.data(), out.size(), 0};
      const size_t status = ZSTD_decompressStream(stream_, &made, &in);
      if (ZSTD_isError(status)) throw_damaged(input_->name(), "zstd", words_of(status));
      input_->take(in.pos);
      between_frames_ = status == 0;
      if (made.pos > 0) return made.pos;
      if (!more && !between_frames_) throw_damaged(input_->name(), "zstd", "it ends too early");
    }
  }

 private:
  static std::string words_of(size_t status) {
    std::string words = ZSTD_getErrorName(status);
    if (!words.empty() && words[0] >= 'A' && words[0] <= 'Z')
      words[0] = static_cast<char>(words[0] - 'A' + 'a');
    return words;
  }

  ZSTD_DStream* stream_;
  bool between_frames_ = true;
};

}  // namespace

std::unique_ptr<ByteReader> open_decompressed(const std::string& path) {
  auto input = std::make_unique<PackedInput>(path);
  input->need(kZstdMagic.size());
  if (input->ahead().starts_with(kGzipMagic)) return std::make_unique<GzipReader>(std::move(input));
  if (input->ahead().starts_with(kZstdMagic)) return std::make_unique<ZstdReader>(std::move(input));
  return input;
}

}  // namespace levanter::data
