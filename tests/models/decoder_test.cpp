// Options of the families after Llama: dropout of attention, parts of heads that rotate.
#include "models/decoder_config.h"

#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "support/fault.h"
#include "support/program.h"
#include "train/config/train_config.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;

namespace {

std::string llama(const std::string& more) {
  return cat("--model={type = \"llama\", hidden_dim = 16, num_layers = 2, num_heads = 4, ",
             "num_kv_heads = 2, intermediate_dim = 16, max_seq_len = 16", more, "}");
}

}  // namespace

TEST_CASE("dropped attention weights change what is learned, and not what is evaluated",
          "[models]") {
  const SmallRun run;
  const auto train = [&](const char* id, const std::string& more) {
    const Ended ended = run.train({llama(more), cat("--trainer.id=", id)});
    INFO(ended.err);
    REQUIRE(ended.code == 0);
    return nlohmann::json::parse(read_file(run / cat("logs/", id, "/summary.json")));
  };
  const auto plain = train("plain", ""), dropped = train("dropped", ", attn_pdrop = 0.5"),
             again = train("again", ", attn_pdrop = 0.5");
  CHECK(dropped["eval/loss"] != plain["eval/loss"]);
  CHECK(dropped["eval/loss"] == again["eval/loss"]);
  const auto loss = [&](const char* rate) {
    const Ended ended = run({"eval", "--checkpoint", "logs/dropped", "--json", rate});
    return nlohmann::json::parse(ended.out)["eval/loss"];
  };
  CHECK(loss("--model.attn_pdrop=0.5") == dropped["eval/loss"]);
  CHECK(loss("--model.attn_pdrop=0") == dropped["eval/loss"]);
}

TEST_CASE("a part of a head that rotates is an even number of its numbers", "[models]") {
  const auto fault = [](const char* factor) {
    const std::string model =
        llama(cat(", rope = { type = \"default\", partial_rotary_factor = ", factor, " }"));
    return failure_of(ErrorKind::kConfig, [&] { load_train_config("", {{model}}); });
  };
  CHECK_THAT(fault("0.25"), Contains("rotates 1 of a head's 4 numbers") && Contains("even"));
  CHECK_THAT(fault("0.1"), Contains("rotates 0 of"));
  CHECK_THAT(fault("1.5"), Contains("partial_rotary_factor"));
}
