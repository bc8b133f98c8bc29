// The real cuDNN makes plans for attention without a card; skipped where it is not there.
//
// The library opens NVIDIA's driver even so, but of that it needs no more than that kernels can be
// loaded. So plans are made in a process of their own, which finds a driver that says so and fails
// in all else.
#include <unistd.h>

#include <cstdlib>
#include <optional>

#include "cuda/card_properties.h"
#include "kernels/cuda/api.h"
#include "kernels/cuda/sdpa_graph.h"
#include "support/checks.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;
using cuda::SdpaArray;
using cuda::SdpaShape;

namespace {

constexpr size_t kPlannedVersion = 91900;  // whose plans are known by name
constexpr const char* kToPlan = "LEVANTER_TEST_PLANS";

struct Case {
  const char* name;
  int64_t batch, heads, kv_heads, positions, head_dim;
  bool causal = true;
  int64_t window = 0;
};

/// The first two are planned in every run of the tests.
constexpr Case kCases[] = {
    {"GPT-2 124M", 64, 12, 12, 1024, 64},
    {"Llama 1B", 2, 32, 8, 4096, 64},
    {"GPT-2 124M, all keys", 8, 12, 12, 1024, 64, false},
    {"GPT-2 124M, window", 8, 12, 12, 1024, 64, true, 256},
    {"heads of 128", 2, 32, 8, 4096, 128},
    {"heads of 128, all keys", 2, 32, 8, 4096, 128, false},
    {"heads of 128, window", 2, 32, 8, 4096, 128, true, 1024},
    {"heads of 256", 2, 8, 4, 2048, 256},
    {"no whole tiles", 2, 8, 8, 1000, 64},
    {"too long", 4, 128, 8, 16384, 128},
};

/// q, k and v are parts of one projection, all positions before heads.
SdpaShape shape_of(const Case& c, bool backward) {
  SdpaShape shape{.backward = backward,
                  .batch = c.batch,
                  .heads = c.heads,
                  .kv_heads = c.kv_heads,
                  .queries = c.positions,
                  .keys = c.positions,
                  .head_dim = c.head_dim,
                  .causal = c.causal,
                  .window = c.window,
                  .strides = {}};
  const auto place = [&](SdpaArray array, int64_t pitch) {
    shape.strides[static_cast<size_t>(array)] = {pitch * c.positions, c.head_dim, pitch};
  };
  for (const SdpaArray part : {SdpaArray::kQ, SdpaArray::kK, SdpaArray::kV})
    place(part, (c.heads + 2 * c.kv_heads) * c.head_dim);
  for (const SdpaArray of_queries : {SdpaArray::kO, SdpaArray::kDO, SdpaArray::kDQ})
    place(of_queries, c.heads * c.head_dim);
  for (const SdpaArray of_keys : {SdpaArray::kDK, SdpaArray::kDV})
    place(of_keys, c.kv_heads * c.head_dim);
  shape.strides[static_cast<size_t>(SdpaArray::kLse)] = {c.heads * c.positions, c.positions, 1};
  return shape;
}

/// "NVIDIA H200, GPT-2 124M, forward: eng2_k24=7, 16 bytes"
std::string plan_line(const cuda::Cudnn& cudnn, const CardProperties& card,
                      const cuda::Descriptor& properties, const Case& c, bool backward) {
  const SdpaShape shape = shape_of(c, backward);
  cuda::Graph graph(cudnn);
  cuda::add_sdpa(graph, shape);
  const auto plan = cuda::make_plan(graph, {nullptr, properties.get()},
                                    cuda::sdpa_engine(shape, card.major, cudnn.get_version()),
                                    cuda::SdpaLimits{}.workspace_bytes);
  return cat(card.name, ", ", c.name, backward ? ", backward: " : ", forward: ",
             plan ? cat(plan->name, ", ", plan->workspace_bytes, " bytes") : "no plan", "\n");
}

/// A driver that loads kernels, in a folder of its own; "" where it cannot be made.
std::string make_driver(const TemporaryFolder& folder) {
  const char* const script = R"(
for stub in /usr/local/cuda/lib64/stubs/libcuda.so /usr/local/cuda/lib/stubs/libcuda.so; do
  [ -f "$stub" ] && break
done
nm -D --defined-only "$stub" | awk '$2 == "T" {
  sub(/@.*/, "", $3)
  if ($3 ~ /^cuLibrary(LoadData|GetKernel)$/) print "int " $3 "(void** to) { *to = (void*)8; return 0; }"
  else if ($3 == "cuLibraryUnload") print "int " $3 "(void) { return 0; }"
  else print "int " $3 "(void) { return " ($3 == "cuInit" ? 100 : 999) "; }"
}' >driver.c && [ -s driver.c ] && cc -w -shared -fPIC driver.c -o libcuda.so.1)";
  write_file_atomic(folder / "make.sh", script);
  const std::string command = cat("cd ", folder.path(), " && sh make.sh >/dev/null 2>&1");
  return std::system(command.c_str()) == 0 ? folder.path() : "";
}

/// What a process of its own plans; empty where this machine can't.
std::optional<std::string> planned(const std::string& what) {
  const TemporaryFolder folder;
  const std::string driver = make_driver(folder);
  const std::string absent = error_of([] { cuda::open_cudnn(); });
  if (driver.empty() || !absent.empty()) {
    WARN("skipped: " << (absent.empty() ? "the toolkit has no stub of the driver" : absent));
    return std::nullopt;
  }
  char self[4096] = {};
  REQUIRE(::readlink("/proc/self/exe", self, sizeof self - 1) > 0);
  const char* const before = std::getenv("LD_LIBRARY_PATH");
  const Ended ended = run_program(
      {"[cudnn_plans]"},
      {.environment = {cat(kToPlan, "=", what),
                       cat("LD_LIBRARY_PATH=", driver, before ? ":" : "", before ? before : "")},
       .program = self});
  INFO(ended.out << ended.err);
  CHECK(ended.code == 0);
  return ended.out;
}

/// The workspace of a line that has a plan; -1 where there is none.
int64_t workspace_of(const std::string& lines, const std::string& start) {
  const size_t at = lines.find(start + ": ");
  if (at == std::string::npos) return -1;
  const std::string line = lines.substr(at, lines.find('\n', at) - at);
  const size_t comma = line.rfind(", ");
  return line.ends_with(" bytes") ? std::atoll(line.c_str() + comma + 2) : -1;
}

}  // namespace

/// In the process of its own.
TEST_CASE("plans of cuDNN, for the tests that read them", "[.cudnn_plans]") {
  const char* const what = std::getenv(kToPlan);
  if (!what) return;
  const bool all = std::string(what) == "all";
  const cuda::Cudnn cudnn = cuda::open_cudnn();
  for (const CardProperties& card : kCards) {
    cuda::Descriptor properties(cudnn, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "a card");
    const std::string json = card.json();
    properties.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                   std::span<const char>(json));
    properties.finish();
    for (const Case& c : std::span(kCases).first(all ? std::size(kCases) : 2))
      for (const bool backward : {false, true})
        std::printf("%s", plan_line(cudnn, card, properties, c, backward).c_str());
    if (!all) break;
  }
}

TEST_CASE("the real cuDNN has the functions, or what is missing is said",
          "[cuda][cudnn][library]") {
  cuda::Cudnn functions;
  const std::string error = error_of([&] { functions = cuda::open_cudnn(); });
  if (error == "") {
    CHECK(functions.get_version() >= 90000);
    return;
  }
  for (const char* part : {"cuDNN", "libcudnn.so.9", "LD_LIBRARY_PATH"})
    CHECK_THAT(error, Catch::Contains(part));
}

TEST_CASE("cuDNN has plans for GPT-2 and Llama on Hopper", "[cuda][cudnn][library]") {
  const auto lines = planned("some");
  if (!lines) return;
  const bool known = cuda::open_cudnn().get_version() == kPlannedVersion;
  for (const Case& c : std::span(kCases).first(2)) {
    const std::string start = cat("NVIDIA H200, ", c.name);
    INFO(*lines);
    CHECK(workspace_of(*lines, start + ", forward") >= 0);
    CHECK(workspace_of(*lines, start + ", forward") < 1 << 20);
    // A fixed order costs memory for the cotangents of all probabilities, in bf16.
    const int64_t pairs = c.batch * c.heads * c.positions * c.positions;
    const int64_t backward = workspace_of(*lines, start + ", backward");
    CHECK(backward >= 0);
    if (!known) continue;
    CHECK(backward >= 2 * pairs);
    CHECK(backward <= 2 * pairs + pairs / 8);
    CHECK_THAT(*lines, Catch::Contains(start + ", forward: eng2_k24=7,"));
    CHECK_THAT(*lines, Catch::Contains(start + ", backward: eng6_k24=26,"));
  }
}

TEST_CASE("cuDNN has plans for every kind of attention on each kind of card",
          "[cuda][cudnn][.slow]") {
  const auto lines = planned("all");
  if (!lines) return;
  INFO(*lines);
  for (const CardProperties& card : kCards)
    for (const Case& c : kCases) {
      const std::string start = cat(card.name, ", ", c.name);
      CHECK(workspace_of(*lines, start + ", forward") >= 0);
      // In a fixed order heads of 256 go on Hopper alone, and what is too long wants too much
      // memory.
      const bool has_backward =
          (c.head_dim <= 128 || card.major == 9) && std::string_view(c.name) != "too long";
      CHECK((workspace_of(*lines, start + ", backward") >= 0) == has_backward);
    }
}
