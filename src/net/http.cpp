// Files at web addresses, read as streams through libcurl where it is installed. The library is
// opened at run time: linking it would cost every start milliseconds. Names and numbers below are
// those of its stable interface (https://curl.se/libcurl/c/).
#include "net/http.h"

#include <dlfcn.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace levanter::net {
namespace {

enum EasyOption : int {
  kLowSpeedLimit = 19,
  kLowSpeedTime = 20,
  kFailOnError = 45,
  kFollowLocation = 52,
  kMaxRedirections = 68,
  kConnectTimeout = 78,
  kNoSignal = 99,
  kProtocols = 181,
  kRedirectionProtocols = 182,
  kWriteData = 10001,
  kUrl = 10002,
  kErrorBuffer = 10010,
  kUserAgent = 10018,
  kWriteFunction = 20011,
};
constexpr long kHttpAndHttps = 1 | 2;
constexpr int kResponseCode = 0x200002;
constexpr int kDone = 1;
constexpr int kPartialFile = 18, kHttpError = 22;

struct Message {
  int kind;
  void* easy;
  union {
    void* any;
    int result;
  } data;
};

/// The functions of libcurl that are used here.
struct Curl {
  bool found = true;
  void* const library = open();
  void* (*easy_init)() = load("curl_easy_init");
  int (*easy_setopt)(void*, int, ...) = load("curl_easy_setopt");
  int (*easy_getinfo)(void*, int, ...) = load("curl_easy_getinfo");
  void (*easy_cleanup)(void*) = load("curl_easy_cleanup");
  const char* (*easy_strerror)(int) = load("curl_easy_strerror");
  void* (*multi_init)() = load("curl_multi_init");
  int (*multi_add_handle)(void*, void*) = load("curl_multi_add_handle");
  int (*multi_remove_handle)(void*, void*) = load("curl_multi_remove_handle");
  int (*multi_perform)(void*, int*) = load("curl_multi_perform");
  int (*multi_poll)(void*, void*, unsigned, int, int*) = load("curl_multi_poll");
  Message* (*multi_info_read)(void*, int*) = load("curl_multi_info_read");
  int (*multi_cleanup)(void*) = load("curl_multi_cleanup");
  int (*global_init)(long) = load("curl_global_init");

  static const Curl& get() {
    static const Curl curl;
    return curl;
  }

 private:
  Curl() {
    if (found) global_init(3);
  }
  static void* open() {
    void* const library = ::dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    return library ? library : ::dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);
  }
  /// A function of whatever type is asked for.
  struct Function {
    void* address;
    template <class F>
    operator F*() const {
      return reinterpret_cast<F*>(address);
    }
  };
  Function load(const char* name) {
    void* const address = library ? ::dlsym(library, name) : nullptr;
    found = found && address != nullptr;
    return {address};
  }
};

size_t append_to(const char* bytes, size_t size, size_t count, void* text) {
  static_cast<std::string*>(text)->append(bytes, size * count);
  return size * count;
}

}  // namespace

struct HttpStream::Impl {
  explicit Impl(std::string address) : url(std::move(address)) {
    easy = curl.easy_init();
    multi = curl.multi_init();
    LEV_CHECK(easy != nullptr && multi != nullptr, "libcurl can't start");
    curl.easy_setopt(easy, kUrl, url.c_str());
    curl.easy_setopt(easy, kWriteFunction, &append_to);
    curl.easy_setopt(easy, kWriteData, &ahead);
    curl.easy_setopt(easy, kErrorBuffer, words);
    curl.easy_setopt(easy, kUserAgent, "levanter");
    for (const auto& [option, value] : {std::pair<int, long>{kFailOnError, 1},
                                        {kFollowLocation, 1},
                                        {kMaxRedirections, 10},
                                        {kNoSignal, 1},
                                        {kConnectTimeout, 30},
                                        {kLowSpeedLimit, 1},
                                        {kLowSpeedTime, 60},
                                        {kProtocols, kHttpAndHttps},
                                        {kRedirectionProtocols, kHttpAndHttps}})
      curl.easy_setopt(easy, option, value);
    curl.multi_add_handle(multi, easy);
  }
  ~Impl() {
    curl.multi_remove_handle(multi, easy);
    curl.easy_cleanup(easy);
    curl.multi_cleanup(multi);
  }

  /// Waits until there are bytes ahead or the transfer has ended.
  void fetch() {
    while (ahead.empty() && !ended) {
      int running = 0, left = 0;
      curl.multi_perform(multi, &running);
      while (const Message* message = curl.multi_info_read(multi, &left))
        if (message->kind == kDone) end(message->data.result);
      if (ahead.empty() && !ended) curl.multi_poll(multi, nullptr, 0, 1000, nullptr);
    }
  }

  void end(int result) {
    ended = true;
    if (result == 0) return;
    if (result == kHttpError) {
      long code = 0;
      curl.easy_getinfo(easy, kResponseCode, &code);
      throw Error(ErrorKind::kData, cat("the server answers ", code, " and gives no file")).at(url);
    }
    if (result == kPartialFile)
      throw Error(ErrorKind::kIo, "the transfer was cut before the file's end")
          .at(url)
          .hint("start again; or fetch the file yourself and name it by its path");
    throw Error(ErrorKind::kIo, cat("the address can't be read: ",
                                    words[0] != '\0' ? words : curl.easy_strerror(result)))
        .at(url);
  }

  const Curl& curl = Curl::get();
  const std::string url;
  void *easy = nullptr, *multi = nullptr;
  std::string ahead;
  size_t taken = 0;  // of `ahead`
  bool ended = false;
  char words[256] = "";
};

bool is_url(std::string_view path) {
  return path.starts_with("http://") || path.starts_with("https://");
}

bool has_http() { return Curl::get().found; }

HttpStream::HttpStream(std::string url) {
  if (!has_http())
    throw Error(ErrorKind::kIo, "reading a web address needs libcurl, which was not found")
        .at(std::move(url))
        .hint("apt-get install libcurl4; or fetch the file yourself and name it by its path");
  impl_ = std::make_unique<Impl>(std::move(url));
}
HttpStream::~HttpStream() = default;

const std::string& HttpStream::name() const { return impl_->url; }

size_t HttpStream::read(std::span<char> out) {
  Impl& impl = *impl_;
  if (impl.taken == impl.ahead.size()) {
    impl.ahead.clear();
    impl.taken = 0;
    impl.fetch();
  }
  const size_t count = std::min(out.size(), impl.ahead.size() - impl.taken);
  impl.ahead.copy(out.data(), count, impl.taken);
  impl.taken += count;
  return count;
}

}  // namespace levanter::net
