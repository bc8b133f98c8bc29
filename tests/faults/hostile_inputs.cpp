#include "faults/hostile.h"

#include <string_view>

#include "base/strings.h"

namespace levanter::faults {

namespace {

using std::string_literals::operator""s;

std::string repeated(int64_t times, std::string_view text) {
  std::string all;
  all.reserve(static_cast<size_t>(times) * text.size());
  for (int64_t i = 0; i < times; ++i) all += text;
  return all;
}

/// piece(0) piece(1) ...
template <class Piece>
std::string each(int64_t times, Piece piece) {
  std::string all;
  for (int64_t i = 0; i < times; ++i) all += piece(i);
  return all;
}

/// A config as it may be, up to one more line.
std::string config_with(std::string_view top, std::string_view bottom = "") {
  return cat(top, "\n[data.components.text]\ntrain = [\"a.txt\"]\n", bottom, "\n");
}

void add_configs(std::vector<HostileInput>& all) {
  const auto add = [&](std::string name, std::string content) {
    all.push_back(
        {cat("config: ", name), "f.toml", std::move(content), {"config", "check", "f.toml"}});
  };
  add("a key of 10,000 parts", repeated(10'000, "a.") + "a = 1\n");
  add("a table of 10,000 parts", cat("[", repeated(10'000, "a."), "a]\nb = 1\n"));
  add("a list of tables of 10,000 parts", cat("[[", repeated(10'000, "a."), "a]]\nb = 1\n"));
  add("a quoted key of 10,000 parts", repeated(10'000, "\"a\".") + "a = 1\n");
  add("braces 16,000 deep", cat("a = ", repeated(16'000, "{a="), "1", repeated(16'000, "}"), "\n"));
  add("brackets 100,000 deep", cat("a = ", repeated(100'000, "["), repeated(100'000, "]"), "\n"));
  add("open brackets 1,000,000 deep", cat("a = ", repeated(1'000'000, "[")));
  add("100,000 unknown keys", each(100'000, [](int64_t i) { return cat("key", i, " = 1\n"); }));
  add("20,000 unknown keys in a table",
      "[trainer]\n" + each(20'000, [](int64_t i) { return cat("train_step", i, " = 1\n"); }));
  add("20,000 components without files", each(20'000, [](int64_t i) {
        return cat("[data.components.c", i, "]\ntrain = \"no list\"\n");
      }));
  add("a key of a million letters", repeated(1'000'000, "k") + " = 1\n");
  add("a word of 10 million letters for a number",
      cat("[trainer]\nnum_train_steps = \"", repeated(10'000'000, "9"), "\"\n"));
  add("a number of a million digits",
      cat("[trainer]\nnum_train_steps = ", repeated(1'000'000, "9"), "\n"));
  add("a text that never ends", "id = \"" + repeated(10'000'000, "x"));
  add("40 MB of comments and a fault",
      repeated(400'000, "# " + repeated(97, "x") + "\n") + "x = 1");
  add("bytes that are no text", cat("id = \"\xff\xfe\xc0\x80\"\n", repeated(1000, "\x80\x01")));
  add("NUL in a path", config_with("[trainer]\nlog_dir = \"lo\\u0000gs\""));
  add("NUL bytes", std::string(100'000, '\0'));
  add("it includes itself", config_with("include = [\"f.toml\"]\nunknown = 1"));
  add("it includes itself twice by other names",
      config_with("include = [\"./f.toml\", \".//f.toml\", \"../trial/f.toml\"]\nunknown = 1"));
  add("10,000 includes of what is not there",
      cat("include = [", each(10'000, [](int64_t i) { return cat("\"x", i, ".toml\", "); }),
          "]\n"));
  add("it includes a folder", "include = [\"/\"]\n");
  add("it includes /dev/zero", "include = [\"/dev/zero\"]\n");
  add("a pattern of 2^30 names",
      config_with("unknown = 1") + "x = 1\n" +
          cat("[data.components.b]\ntrain = [\"", repeated(30, "{a,b}"), "\"]\n"));
  add("a pattern of 10^8 names",
      config_with("unknown = 1") + "[data.components.b]\ntrain = [\"x{00000000..99999999}\"]\n");
  add("braces of a pattern 10,000 deep",
      cat("[data.components.b]\nunknown = 1\ntrain = [\"", repeated(10'000, "{a,"),
          repeated(10'000, "}"), "\"]\n"));
  add("a path of a million letters",
      cat("[data.components.b]\nunknown = 1\ntrain = [\"", repeated(1'000'000, "p"), "\"]\n"));
  add("dates, infinities and tables for numbers",
      "[trainer]\nseed = 1979-05-27\nnum_train_steps = inf\ntrain_batch_size = {}\nranks = -nan\n");
  add("sizes beyond all memory",
      config_with("[model]\nhidden_dim = 9223372036854775807\nnum_layers = 9223372036854775807"));
  all.push_back({"config: /dev/zero", "unread", "", {"config", "check", "/dev/zero"}});
  all.push_back({"config: a folder", "unread", "", {"config", "check", "/"}});
  all.push_back({"config: a program", "unread", "", {"config", "check", "/proc/self/exe"}});
  all.push_back({"override: a key of 50,000 parts",
                 "unread",
                 "",
                 {"config", "check", "f.toml", cat("--", repeated(50'000, "a."), "a=1")}});
  all.push_back({"override: braces 30,000 deep",
                 "unread",
                 "",
                 {"config", "check", "f.toml", cat("--model=", repeated(30'000, "{a="), "1")}});
}

void add_templates(std::vector<HostileInput>& all) {
  const auto add = [&](std::string name, std::string content) {
    all.push_back({cat("template: ", name),
                   "chat.jinja",
                   std::move(content),
                   {"cache", "--config", "chat.toml"}});
  };
  const std::string loops = "{% for i in range(100000) %}{% for j in range(100000) %}";
  add("10^10 turns", loops + "{% endfor %}{% endfor %}");
  add("10^10 turns of a set", loops + "{% set x = i * j %}{% endfor %}{% endfor %}");
  add("a text doubled 100 times",
      "{% set ns = namespace(x='ab') %}{% for i in range(100) %}"
      "{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|length }}");
  add("a list doubled 100 times",
      "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}"
      "{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|length }}");
  add("a list of 10^10", "{{ ([1] * 10000000000)|length }}");
  add("a text of 10^10", "{{ ('a' * 10000000000)|length }}");
  add("a range of 10^12", "{{ range(1000000000000)|length }}{{ range(1000000000000)|list }}");
  add("a join of joins",
      "{% set a = ('a' * 9999).split('') if false else range(30000)|list %}"
      "{% set b = a|join('bbbbbbbbbb') %}{% for i in range(30000) %}{{ a|join(b) }}{% endfor %}");
  add("a macro that calls itself", "{% macro f(x) %}{{ f(x + 1) }}{% endmacro %}{{ f(0) }}");
  add("a macro that calls itself twice, 60 deep",
      "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) "
      "}}");
  add("parentheses 100,000 deep",
      cat("{{ ", repeated(100'000, "("), "1", repeated(100'000, ")"), " }}"));
  add("ifs 20,000 deep", repeated(20'000, "{% if true %}") + repeated(20'000, "{% endif %}"));
  add("a sum of 200,000 parts", cat("{{ 1", repeated(200'000, " + 1"), " }}{{ nothing.at.all }}"));
  add("200,000 nots", cat("{{ ", repeated(200'000, "not "), "nothing.at.all }}"));
  add("a width of 10^9", "{{ '%1000000000d' % 1 }}");
  add("centred in 10^9", "{{ 'a'.center(1000000000) if false else 'a'|center(1000000000) }}");
  add("indented by 10^9", "{{ ('a\\n' * 1000)|indent(1000000000) }}");
  add("replaced by more and more",
      "{% set ns = namespace(x='a') %}{% for i in range(60) %}"
      "{% set ns.x = ns.x|replace('a', 'aa') %}{% endfor %}{{ ns.x|length }}");
  add("tags that never end", repeated(100'000, "{% for x in y %}"));
  add("bytes that are no text", "\xff\xfe{{ \0 }}"s);
}

std::string header_of(std::string_view header, int64_t said = -1) {
  auto size = static_cast<uint64_t>(said < 0 ? static_cast<int64_t>(header.size()) : said);
  std::string bytes;
  for (int i = 0; i < 8; ++i, size >>= 8) bytes += static_cast<char>(size & 0xff);
  return cat(bytes, header);
}

void add_headers(std::vector<HostileInput>& all) {
  const auto add = [&](std::string name, std::string content,
                       std::string file = "model.safetensors") {
    all.push_back({cat(file, ": ", name),
                   "hf/" + file,
                   std::move(content),
                   {"eval", "--checkpoint", "hf", "--documents", "a.txt"}});
  };
  const auto tensor = [](std::string_view shape, std::string_view offsets) {
    return header_of(cat("{\"wte.weight\": {\"dtype\": \"F32\", \"shape\": [", shape,
                         "], \"data_offsets\": [", offsets, "]}}"));
  };
  add("empty", "");
  add("a header of 2^62 bytes", header_of("{}", int64_t{1} << 62));
  add("a header longer than the file", header_of("{}", 1000));
  add("a header of 90 MB of blanks", header_of("{" + std::string(90'000'000, ' ')));
  add("a header 1,000,000 deep", header_of("{\"a\":" + repeated(1'000'000, "[")));
  add("no JSON", header_of(repeated(1000, "\xff\x00\x01")));
  add("a shape of 2^64", tensor("4294967296, 4294967296", "0, 0"));
  add("a shape of 100,000 axes", tensor(repeated(99'999, "1, ") + "1", "0, 4"));
  add("offsets below 0", tensor("1", "-4, 0"));
  add("offsets that cross", tensor("1", "4, 0"));
  add("offsets of 2^63", tensor("1", "9223372036854775804, 9223372036854775808"));
  add("20,000 tensors of another model",
      header_of(cat("{",
                    each(20'000,
                         [](int64_t i) {
                           return cat(i ? "," : "", "\"t", i,
                                      "\": {\"dtype\": \"F32\", \"shape\": [0], ",
                                      "\"data_offsets\": [0, 0]}");
                         }),
                    "}")));
  add("100,000 layers of this one",
      header_of(cat("{",
                    each(100'000,
                         [](int64_t i) {
                           return cat(i ? "," : "", "\"h.", i,
                                      ".ln_1.weight\": {\"dtype\": \"F32\", \"shape\": [0], ",
                                      "\"data_offsets\": [0, 0]}");
                         }),
                    "}")));
  add("1,000,000 deep", repeated(1'000'000, "{\"a\":"), "config.json");
  add("10^9 layers", R"({"model_type": "gpt2", "n_layer": 1000000000, "n_embd": 32, "n_head": 4,
    "n_positions": 32, "vocab_size": 270})",
      "config.json");
  add("a width of 1e300", R"({"model_type": "gpt2", "n_layer": 2, "n_embd": 1e300, "n_head": 4,
    "n_positions": 32, "vocab_size": 270})",
      "config.json");
  add("sizes below 0", R"({"model_type": "gpt2", "n_layer": -2, "n_embd": -32, "n_head": -4,
    "n_positions": -32, "vocab_size": -1})",
      "config.json");
  add("a family of a million letters", cat("{\"model_type\": \"", repeated(1'000'000, "g"), "\"}"),
      "config.json");
}

void add_tokenizers(std::vector<HostileInput>& all) {
  const auto add = [&](std::string name, std::string parts, std::string model) {
    all.push_back(
        {cat("tokenizer: ", name),
         "tokenizer.json",
         cat("{\"version\": \"1.0\", ", parts, ", \"model\": {\"type\": \"BPE\", ", model, "}}"),
         {"tokenize", "--tokenizer", "tokenizer.json"}});
  };
  const std::string vocab = "\"vocab\": {\"a\": 0}, \"merges\": []";
  const std::string doubling =
      R"({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"})";
  add("40 times a to aa",
      cat("\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [",
          repeated(39, doubling + ","), doubling, "]}"),
      vocab);
  add("sequences 10,000 deep",
      cat("\"normalizer\": ", repeated(10'000, R"({"type": "Sequence", "normalizers": [)"),
          repeated(10'000, "]}")),
      vocab);
  add("an expression that explodes",
      R"("pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a|a)+$"}, "behavior": "Isolated", "invert": false})",
      vocab);
  add("parentheses of an expression, 100,000",
      cat(R"("pre_tokenizer": {"type": "Split", "pattern": {"Regex": ")", repeated(100'000, "("),
          R"("}, "behavior": "Isolated", "invert": false})"),
      vocab);
  add("an id of 2^40", "\"normalizer\": null", "\"vocab\": {\"a\": 1099511627776}, \"merges\": []");
  add("an id given twice", "\"normalizer\": null",
      "\"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": [\"c d\"]");
  add("/dev/zero", "\"normalizer\": null", vocab);
  all.back().words = {"tokenize", "--tokenizer", "/dev/zero"};
}

}  // namespace

std::vector<HostileInput> hostile_inputs() {
  std::vector<HostileInput> all;
  add_configs(all);
  add_templates(all);
  add_headers(all);
  add_tokenizers(all);
  return all;
}

}  // namespace levanter::faults
