// When a compiled function is recorded and replayed, and that no bit depends on it.
#include <catch2/catch.hpp>

#include "passes/passes.h"
#include "support/recording_backend.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

using Counts = RecordingBackend::Counts;

const Axes kX = {{"embed", 3}};

/// sum <- sum + exp(x): a run more is seen.
Function accumulation() {
  Function f("accumulation");
  const NamedArray x = f.argument("x", {DType::f32, kX});
  const NamedArray total = f.argument("sum", {DType::f32, kX});
  f.result("sum", total + exp(x), 1);
  return f;
}

/// The function over memory of its own, x = 1, 2, 3 and sum = 0.
class Bound {
 public:
  explicit Bound(const Backend& backend, const CompileOptions& options = {})
      : executable(compile(optimise(accumulation(), backend), backend, options)),
        x_(backend.allocate(64)),
        total_(backend.allocate(64)),
        arena_(backend.allocate(executable.arena_bytes() + 64)),
        workspace_(backend.allocate(executable.workspace_bytes() + 64)) {
    for (int i = 0; i < 3; ++i) reinterpret_cast<float*>(x_->data())[i] = static_cast<float>(i + 1);
    bind();
  }
  void bind() {
    std::byte* const arguments[] = {x_->data(), total_->data()};
    std::byte* const results[] = {nullptr};
    executable.bind(arena_->data(), workspace_->data(), arguments, results);
  }
  std::vector<float> total() const {
    const auto* values = reinterpret_cast<const float*>(total_->data());
    return {values, values + 3};
  }
  int steps() const { return static_cast<int>(executable.step_count()); }

  Executable executable;

 private:
  std::unique_ptr<Buffer> x_, total_, arena_, workspace_;
};

class Watching final : public StepObserver {
 public:
  void before(const Node&) override {}
  void after(const Node&, const std::string&, void* const*) override { ++steps; }
  int steps = 0;
};

}  // namespace

TEST_CASE("a function is recorded at its second run and replayed ever after, with the same bits",
          "[runtime]") {
  const RecordingBackend recording;
  const auto plain = make_backend("reference");
  Bound one(recording), other(*plain);
  CHECK(recording.counts() == Counts{1, 0, 0, 0});
  for (int run = 1; run <= 5; ++run) {
    one.executable.run();
    other.executable.run();
    CHECK(one.total() == other.total());
    CHECK(recording.counts() == Counts{1, run > 1, std::max(0, run - 1), one.steps()});
  }
}

TEST_CASE("other addresses are recorded anew", "[runtime]") {
  const RecordingBackend recording;
  Bound bound(recording);
  bound.executable.run();
  bound.executable.run();
  bound.bind();
  bound.executable.run();
  CHECK(recording.counts() == Counts{1, 1, 1, 2 * bound.steps()});
  bound.executable.run();
  CHECK(recording.counts() == Counts{1, 2, 2, 2 * bound.steps()});
}

TEST_CASE("what an observer or debug mode watches is neither recorded nor replayed", "[runtime]") {
  const RecordingBackend recording;
  Bound watched(recording), debugged(recording, {.debug = true});
  Watching observer;
  for (int i = 0; i < 3; ++i) watched.executable.run(&observer);
  CHECK(observer.steps == 3 * watched.steps());
  for (int i = 0; i < 3; ++i) debugged.executable.run();
  CHECK(recording.counts() == Counts{2, 0, 0, 3 * (watched.steps() + debugged.steps())});
  for (int i = 0; i < 2; ++i) watched.executable.run();
  watched.executable.run(&observer);
  CHECK(observer.steps == 4 * watched.steps());
  CHECK(recording.counts().replayed == 1);
}
