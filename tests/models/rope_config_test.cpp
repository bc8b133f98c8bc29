// Rotary types against the numbers that Transformers 5 computes for them.
#include "models/rope_config.h"

#include <catch2/catch.hpp>

#include <cmath>

#include "config/bind.h"
#include "config/document.h"

using namespace levanter;

namespace {

constexpr double kTolerance = 2e-7;  // relative: Transformers computes in f32

nn::RotaryFrequencies frequencies(std::string_view toml, int64_t window = 64) {
  struct Holder {
    config::Choice<RopeConfig> rope;
    void fields(config::Fields& f) { f("rope", rope, "rotary positions"); }
  } holder;
  config::Sources sources;
  config::Problems problems(sources);
  const config::Value root = config::parse_document(toml, "r.toml", {}, problems);
  config::bind(root, config::type_of<Holder>(), &holder, sources, problems);
  problems.raise("r.toml");
  return holder.rope->frequencies(holder.rope->rotated(16), window);
}

}  // namespace

TEST_CASE("rotary frequencies are those of Transformers", "[models]") {
  struct Case {
    const char* toml;
    std::vector<double> inverse;
    double scale;
    int64_t window = 64;
  };
  const Case cases[] = {
      {"[rope]\ntheta = 5e5",
       {1.0, 0.193922758102417, 0.03760603070259094, 0.00729266507551074, 0.001414213445968926,
        0.00027424818836152554, 5.3182957344688475e-05, 1.0313385246263351e-05},
       1.0},
      {"[rope]\ntype = \"linear\"\nfactor = 4",
       {0.25, 0.07905694097280502, 0.02500000037252903, 0.007905694656074047, 0.0024999999441206455,
        0.0007905694656074047, 0.0002500000118743628, 7.905694656074047e-05},
       1.0},
      {"[rope]\ntype = \"dynamic\"\nfactor = 2\noriginal_max_position_embeddings = 64",
       {1.0, 0.2394813448190689, 0.05735132098197937, 0.013734571635723114, 0.003289173822849989,
        0.0007876958115957677, 0.00018863845616579056, 4.5175391278462484e-05},
       1.0,
       256},
      {"[rope]\ntype = \"dynamic\"\nfactor = 2\noriginal_max_position_embeddings = 64",
       {1.0, 0.3162277638912201, 0.10000000149011612, 0.03162277862429619, 0.009999999776482582,
        0.003162277862429619, 0.0010000000474974513, 0.0003162277862429619},
       1.0},
      {"[rope]\ntype = \"llama3\"\ntheta = 5e5\noriginal_max_position_embeddings = 1024",
       {1.0, 0.193922758102417, 0.03760603070259094, 0.0013125694822520018, 0.00017677668074611574,
        3.428102354519069e-05, 6.647869668086059e-06, 1.289173155782919e-06},
       1.0},
      {"[rope]\ntype = \"yarn\"\nfactor = 4\noriginal_max_position_embeddings = 32",
       {1.0, 0.19764235615730286, 0.02500000037252903, 0.007905694656074047, 0.0024999999441206455,
        0.0007905694656074047, 0.0002500000118743628, 7.905694656074047e-05},
       1.138629436111989},
      {"[rope]\ntype = \"yarn\"\nfactor = 8\nbeta_fast = 16\nbeta_slow = 2\nattention_factor = "
       "1.5\noriginal_max_position_embeddings = 512",
       {1.0, 0.3162277638912201, 0.07083333283662796, 0.01317615807056427, 0.0012499999720603228,
        0.00039528473280370235, 0.0001250000059371814, 3.9528473280370235e-05},
       1.5},
      {"[rope]\ntype = \"yarn\"\nfactor = 4\noriginal_max_position_embeddings = 32\n"
       "truncate = false",
       {1.0, 0.14849025011062622, 0.02500000037252903, 0.007905694656074047, 0.0024999999441206455,
        0.0007905694656074047, 0.0002500000118743628, 7.905694656074047e-05},
       1.138629436111989},
      {"[rope]\ntype = \"yarn\"\nfactor = 8\noriginal_max_position_embeddings = 512\n"
       "mscale = 0.7\nmscale_all_dim = 1.3",
       {1.0, 0.24705293774604797, 0.05625000223517418, 0.010870330035686493, 0.0012499999720603228,
        0.00039528473280370235, 0.0001250000059371814, 3.9528473280370235e-05},
       0.9017839869787123},
      {"[rope]\ntype = \"yarn\"\nfactor = 8\noriginal_max_position_embeddings = 512\nmscale = 1",
       {1.0, 0.24705293774604797, 0.05625000223517418, 0.010870330035686493, 0.0012499999720603228,
        0.00039528473280370235, 0.0001250000059371814, 3.9528473280370235e-05},
       1.2079441541679836},
      {"[rope]\ntype = \"linear\"\nfactor = 4\npartial_rotary_factor = 0.5",
       {0.25, 0.02500000037252903, 0.0024999999441206455, 0.0002500000118743628},
       1.0},
  };
  for (const Case& c : cases) {
    INFO(c.toml);
    const nn::RotaryFrequencies found = frequencies(c.toml, c.window);
    REQUIRE(found.inverse.size() == c.inverse.size());
    for (size_t i = 0; i < c.inverse.size(); ++i)
      CHECK(std::abs(found.inverse[i] - c.inverse[i]) <= kTolerance * c.inverse[i]);
    CHECK(std::abs(found.scale - c.scale) <= kTolerance);
  }
}
