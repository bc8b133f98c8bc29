// The CUDA backend on a driver that counts, waits and fails.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"
#include "base/strings.h"
#include "cuda/fake_cuda.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/modules.h"
#include "support/checks.h"
#include "support/source_root.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Build kProgram = [](const std::vector<NamedArray>& in) {
  return std::vector{sum(exp(in[0]) * 2.0, in[0].axes())};
};

std::vector<Array> inputs() { return {random_real({{"a", 5}, {"b", 7}}, 1)}; }

}  // namespace

TEST_CASE("a backend opens its card when it first needs it, and gives everything back", "[cuda]") {
  FakeCuda fake;
  {
    const auto backend = FakeCuda::backend();
    const Function function = trace(kProgram, inputs(), DType::f32);
    const Executable executable = compile(duplicate(function), *backend, {});
    CHECK(executable.arena_bytes() > 0);
    CHECK(fake.calls() == 0);
    evaluate(kProgram, inputs(), *backend, DType::f32);
    CHECK(fake.living() != "");
    CHECK(backend->numerics_signature().starts_with(
        "cuda; an emulated card, sm_90; nvrtc 13.0, kernels "));
  }
  CHECK(fake.living() == "");
  CHECK(fake.fault() == "");
}

TEST_CASE("the signature covers what makes the texts of regions", "[cuda]") {
  for (const cuda::Text& text : cuda::generators()) {
    INFO(text.name);
    CHECK(read_file(cat(source_root(), "/", text.name)) == text.content);
  }
  const std::string now =
      cuda::hash_of_kernels({cuda::headers(), cuda::programs(), cuda::generators()});
  FakeCuda fake;
  CHECK_THAT(FakeCuda::backend()->numerics_signature(), Catch::Contains(cat("kernels ", now)));
  std::vector<cuda::Text> changed(cuda::generators().begin(), cuda::generators().end());
  REQUIRE(changed.size() > 2);
  changed.back().content = "another";
  CHECK(cuda::hash_of_kernels({cuda::headers(), cuda::programs(), changed}) != now);
}

TEST_CASE("the card's memory is zero-filled and out of the host's reach", "[cuda]") {
  FakeCuda fake;
  const auto backend = FakeCuda::backend();
  const auto buffer = backend->allocate(100);
  std::vector<std::byte> back(100, std::byte{1});
  backend->download(back, buffer->data());
  CHECK(back == std::vector<std::byte>(100));
  backend->fill(buffer->data() + 10, 3, std::byte{42});
  backend->copy(buffer->data() + 50, buffer->data() + 9, 5);
  backend->download(back, buffer->data());
  CHECK(back[50] == std::byte{0});
  CHECK(back[51] == std::byte{42});
  CHECK(back[53] == std::byte{42});
  CHECK(back[54] == std::byte{0});
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGSEGV, SIG_DFL);
    ::_exit(static_cast<int>(*buffer->data()));
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFSIGNALED(status) || WEXITSTATUS(status) != 0));
}

TEST_CASE("what is uploaded may change at once, however long and late the copy is", "[cuda]") {
  FakeCuda fake;
  const auto backend = FakeCuda::backend();
  const size_t bytes = (9 << 20) + 13;  // three pieces, of which two can be on their way
  const auto buffer = backend->allocate(static_cast<int64_t>(bytes));
  std::vector<std::byte> data(bytes);
  for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>(i * 7 % 251);
  const std::vector<std::byte> kept = data;
  backend->upload(buffer->data(), data);
  std::fill(data.begin(), data.end(), std::byte{0});
  backend->download(data, buffer->data());
  CHECK(data == kept);
}

TEST_CASE("backend.add adds on the card", "[cuda]") {
  FakeCuda fake;
  const auto backend = FakeCuda::backend();
  const std::vector<float> left = {1, 2, 3}, right = {10, 20, 30};
  const auto a = backend->allocate(12), b = backend->allocate(12);
  backend->upload(a->data(), std::as_bytes(std::span(left)));
  backend->upload(b->data(), std::as_bytes(std::span(right)));
  backend->add(reinterpret_cast<float*>(a->data()), reinterpret_cast<float*>(b->data()), 3);
  std::vector<float> sum(3);
  backend->download(std::as_writable_bytes(std::span(sum)), a->data());
  CHECK(sum == std::vector<float>{11, 22, 33});
}

TEST_CASE("any call of the driver may fail: an error says so, and nothing is kept", "[cuda]") {
  int64_t calls = 0;
  {
    FakeCuda fake;
    evaluate(kProgram, inputs(), *FakeCuda::backend(), DType::f32);
    calls = fake.calls();
  }
  REQUIRE(calls > 40);
  int errors = 0;
  for (int64_t call = 1; call <= calls; ++call) {
    FakeCuda fake;
    fake.fail(call, CUDA_ERROR_UNKNOWN);
    const std::string error =
        error_of([&] { evaluate(kProgram, inputs(), *FakeCuda::backend(), DType::f32); });
    if (error.empty()) continue;  // one of those that give something back
    ++errors;
    CHECK_THAT(error, Catch::Contains("error: cannot ") &&
                          Catch::Contains("as the fake was told (CUDA_ERROR_OF_A_TEST)"));
    INFO("call " << call << ": " << error);
    const std::string living = fake.living();
    CHECK((living == "" || call > calls - 40));
  }
  CHECK(errors > 30);
}

TEST_CASE("memory that a card lacks is an error that says how much there is", "[cuda]") {
  FakeCuda fake;
  fake.set_memory(3 << 20);
  const auto backend = FakeCuda::backend();
  const auto buffer = backend->allocate(2 << 20);
  CHECK_THAT(error_of([&] { backend->allocate(int64_t{2} << 20); }),
             Catch::Contains("allocate 2.00 MiB on an emulated card") &&
                 Catch::Contains("1.00 MiB of 3.00 MiB are free") &&
                 Catch::Contains("levanter plan"));
}

TEST_CASE("a card that is too old is refused by its name", "[cuda]") {
  FakeCuda fake;
  fake.set_major(7);
  CHECK_THAT(
      error_of([&] { FakeCuda::backend()->allocate(1); }),
      Catch::Contains("an emulated card") && Catch::Contains("sm_70") && Catch::Contains("sm_80"));
  CHECK(fake.living() == "");
}

TEST_CASE("kernels are compiled once and kept on disk; a damaged file is made anew", "[cuda]") {
  FakeCuda fake;
  const TemporaryFolder folder;
  const auto values = [&] {
    return evaluate(kProgram, inputs(), *cuda::make_backend(FakeCuda::source(folder / "cache")),
                    DType::f32);
  };
  const auto first = values();
  const int compilations = fake.compilations();
  CHECK(compilations > 0);
  CHECK(same_bits(values(), first));
  CHECK(fake.compilations() == compilations);
  const std::vector<std::string> files = list_directory(folder / "cache");
  REQUIRE(static_cast<int>(files.size()) == compilations);
  const std::string path = folder / cat("cache/", files[0]);
  std::string text = read_file(path);
  text.back() ^= 1;
  write_file_atomic(path, text);
  CHECK(same_bits(values(), first));
  CHECK(fake.compilations() == compilations + 1);
  write_file_atomic(path, "");
  CHECK(same_bits(values(), first));
  CHECK(fake.compilations() == compilations + 2);
  fake.set_major(8);  // another architecture, other files
  CHECK(same_bits(values(), first));
  CHECK(fake.compilations() == 2 * compilations + 2);
}

TEST_CASE("a cache that cannot be written is done without", "[cuda]") {
  FakeCuda fake;
  const TemporaryFolder folder;
  write_file_atomic(folder / "file", "");
  evaluate(kProgram, inputs(), *cuda::make_backend(FakeCuda::source(folder / "file/cache")),
           DType::f32);
  CHECK(fake.compilations() > 0);
}

TEST_CASE("with LEVANTER_CUDA_SYNC the kernel that fails is named", "[cuda]") {
  FakeCuda fake;
  ::setenv("LEVANTER_CUDA_SYNC", "1", 1);
  const auto backend = FakeCuda::backend();
  const auto buffer = backend->allocate(64);
  ::unsetenv("LEVANTER_CUDA_SYNC");
  backend->add(reinterpret_cast<float*>(buffer->data()), reinterpret_cast<float*>(buffer->data()),
               1);
  fake.fail(3, CUDA_ERROR_LAUNCH_FAILED);  // after the context and the launch: the wait
  CHECK_THAT(error_of([&] {
               for (int i = 0; i < 4; ++i)
                 backend->add(reinterpret_cast<float*>(buffer->data()),
                              reinterpret_cast<float*>(buffer->data()), 1);
             }),
             Catch::Contains("kernel add"));
}

TEST_CASE("an NVRTC that is newer than the driver is refused, with what to do", "[cuda]") {
  FakeCuda fake;
  fake.set_driver_version(12060);
  const std::string error =
      error_of([&] { evaluate(kProgram, inputs(), *FakeCuda::backend(), DType::f32); });
  CHECK_THAT(error, Catch::Contains("NVRTC 13.0") && Catch::Contains("CUDA 12") &&
                        Catch::Contains("libnvrtc.so.12"));
  CHECK(fake.living() == "");
}

TEST_CASE("what cannot be recorded runs step by step", "[cuda]") {
  class Add final : public Runnable {
   public:
    explicit Add(const Backend& backend) : backend_(backend), memory_(backend.allocate(64)) {}
    void run() const override {
      auto* const numbers = reinterpret_cast<float*>(memory_->data());
      backend_.add(numbers, numbers + 8, 8);
    }

   private:
    const Backend& backend_;
    std::unique_ptr<Buffer> memory_;
  };
  int plain = 0;
  for (int64_t call = 0; call <= 8; ++call) {
    FakeCuda fake;
    const auto backend = FakeCuda::backend();
    const Add add(*backend);
    add.run();
    if (call > 0) fake.fail(call, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    const std::string error = error_of([&] { plain += backend->record(add) == nullptr; });
    CHECK((error.empty() || call > 0));
  }
  CHECK(plain >= 2);  // the end of the recording, and making one of it
}
