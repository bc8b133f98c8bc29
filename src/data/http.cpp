// Files at web addresses, read as streams through libcurl where it is installed. The library is
// opened at run time: linking it would cost every start milliseconds. Names and numbers below are
// those of its stable interface (https://curl.se/libcurl/c/).
#include "data/http.h"

#include <dlfcn.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace levanter::data {
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
  void* (*easy_init)();
  int (*easy_setopt)(void*, int, ...);
  int (*easy_getinfo)(void*, int, ...);
  void (*easy_cleanup)(void*);
  const char* (*easy_strerror)(int);
  void* (*multi_init)();
  int (*multi_add_handle)(void*, void*);
  int (*multi_remove_handle)(void*, void*);
  int (*multi_perform)(void*, int*);
  int (*multi_poll)(void*, void*, unsigned, int, int*);
  Message* (*multi_info_read)(void*, int*);
  int (*multi_cleanup)(void*);
  bool found = false;

  static const Curl& get() {
    static const Curl curl;
    return curl;
  }

 private:
  Curl() {
    void* library = nullptr;
    for (const char* name : {"libcurl.so.4", "libcurl-gnutls.so.4"})
      if (library == nullptr) library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return;
    found = true;
    const auto load = [&](auto& function, const char* name) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
      found = found && function != nullptr;
    };
    load(easy_init, "curl_easy_init");
    load(easy_setopt, "curl_easy_setopt");
    load(easy_getinfo, "curl_easy_getinfo");
    load(easy_cleanup, "curl_easy_cleanup");
    load(easy_strerror, "curl_easy_strerror");
    load(multi_init, "curl_multi_init");
    load(multi_add_handle, "curl_multi_add_handle");
    load(multi_remove_handle, "curl_multi_remove_handle");
    load(multi_perform, "curl_multi_perform");
    load(multi_poll, "curl_multi_poll");
    load(multi_info_read, "curl_multi_info_read");
    load(multi_cleanup, "curl_multi_cleanup");
    int (*global_init)(long) = nullptr;
    load(global_init, "curl_global_init");
    if (found) global_init(3);
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

}  // namespace levanter::data
