// The command line: options, words and overrides, and the help of each command.
#include "commands/command_line.h"

#include <catch2/catch.hpp>

#include "base/strings.h"
#include "support/fault.h"
#include "support/golden.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::commands;
using levanter::testing::failure_of;

namespace {

CommandLine parse(const std::vector<std::string>& words) { return parse_command_line(words); }

std::string refusal(const std::vector<std::string>& words) {
  return failure_of(ErrorKind::kConfig, [&] { parse(words); });
}

}  // namespace

TEST_CASE("a value stands after an equals sign or in the next word", "[commands]") {
  const CommandLine line = parse({"generate", "--checkpoint", "logs/a b", "--top-k=5", "--json"});
  REQUIRE(line.command);
  CHECK(std::string(line.command->name) == "generate");
  CHECK(line.arguments.text("checkpoint") == "logs/a b");
  CHECK(line.arguments.integer("top-k", 0, 0, 100) == 5);
  CHECK(line.arguments.has("json"));
  CHECK(line.arguments.overrides.empty());
}

TEST_CASE("a value may look like an option, a number below zero or a command", "[commands]") {
  CHECK(parse({"generate", "--checkpoint", "c", "--prompt", "--help"}).arguments.text("prompt") ==
        "--help");
  CHECK(parse({"generate", "--checkpoint", "c", "--prompt", ""}).arguments.text("prompt") == "");
  const CommandLine line = parse({"train", "--config", "train", "--trainer.id", "eval",
                                  "--optimizer.beta1", "-1", "--trainer.seed=a=b"});
  CHECK(line.arguments.text("config") == "train");
  CHECK(line.arguments.overrides == std::vector<std::string>{"--trainer.id", "eval",
                                                             "--optimizer.beta1", "-1",
                                                             "--trainer.seed=a=b"});
}

TEST_CASE("words and overrides with a value of their own do not mix", "[commands]") {
  const CommandLine line =
      parse({"config", "--trainer.seed", "3", "print", "run.toml", "--model", "{type=\"gpt2\"}"});
  CHECK(line.arguments.words == std::vector<std::string>{"print", "run.toml"});
  CHECK(line.arguments.overrides ==
        std::vector<std::string>{"--trainer.seed", "3", "--model", "{type=\"gpt2\"}"});
}

TEST_CASE("a slip of the keyboard is an error that names what was meant", "[commands]") {
  CHECK(refusal({"trian"}).find("did you mean train") != std::string::npos);
  CHECK(refusal({"generate", "--checkpoint=c", "--promt=x"}).find("did you mean --prompt") !=
        std::string::npos);
  CHECK(refusal({"train", "--config=c", "--egaer"}).find("did you mean --eager") !=
        std::string::npos);
  CHECK(refusal({"train", "--config=c", "--", "x"}).find("has no option --") != std::string::npos);
  CHECK(refusal({}).find("no command") != std::string::npos);
}

TEST_CASE("an option of another command is refused with where it belongs", "[commands]") {
  const auto says = [](const std::vector<std::string>& words, const std::string& hint) {
    const std::string text = refusal(words);
    INFO(text);
    CHECK(text.find(hint) != std::string::npos);
  };
  says({"config", "check", "run.toml", "--page"}, "an option of levanter config describe");
  says({"config", "--page", "check", "run.toml"}, "an option of levanter config describe");
  says({"cache", "--config", "c", "--documents", "3"}, "an option of levanter cache inspect");
  says({"bench", "gemm", "--steps", "3"}, "an option of levanter bench step");
  says({"bench", "step", "--config", "c", "--threads", "3"}, "did you mean --trainer.threads");
  says({"config", "describe", "--trainer.seed=1"}, "has no option --trainer.seed");
  says({"eval", "--checkpoint", "c", "--stride", "8"}, "add --documents");
  says({"tokenize", "--tokenizer", "bytes", "--skip-special-tokens"}, "add --decode");
  says({"verify", "--checkpoint", "c", "run.toml"}, "levanter verify --help");
}

TEST_CASE("options stand before or after the word whose they are", "[commands]") {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"cache", "inspect", "--config", "c", "--from=7", "--json"},
        {"cache", "--config", "c", "--json", "inspect", "--from", "7"},
        {"cache", "-f", "c", "inspect", "-j", "--from", "7"},
        {"cache", "inspect", "-jf", "c", "--from=7"},
        {"cache", "inspect", "-fc", "--from=7", "-j"}}) {
    const CommandLine line = parse(words);
    REQUIRE(line.command);
    CHECK(std::string(line.command->name) == "inspect");
    CHECK(line.arguments.words == std::vector<std::string>{"inspect"});
    CHECK(line.arguments.text("config") == "c");
    CHECK(line.arguments.integer("from", 0, 0, 9) == 7);
    CHECK(line.arguments.has("json"));
  }
  CHECK(refusal({"cache", "-f", "c", "inspect", "--config", "d"}).find("is given twice") !=
        std::string::npos);
  CHECK(refusal({"cache", "inspect", "-j", "-f"}).find("--config has no value") !=
        std::string::npos);
  CHECK(refusal({"cache", "inspect", "-f", ""}).find("--config is empty") != std::string::npos);
}

TEST_CASE("values are what was written, and two dashes end the options", "[commands]") {
  CHECK(parse({"generate", "-m", "c", "-p", "--a.b=c"}).arguments.text("prompt") == "--a.b=c");
  CHECK(parse({"generate", "-m", "c", "--prompt=[a,b]"}).arguments.text("prompt") == "[a,b]");
  CHECK(parse({"generate", "-m", "c", "--prompt", "--"}).arguments.text("prompt") == "--");
  CHECK(parse({"generate", "-m", "c", "--stop", "[a,b]", "--stop=x"}).arguments.all("stop") ==
        std::vector<std::string>{"[a,b]", "x"});
  const CommandLine line = parse({"tokenizer", "train", "--vocab-size", "300", "--out=o", "[a,b]",
                                  "--", "--eos", "-x", "--help", "--a.b=c"});
  CHECK(line.arguments.words ==
        std::vector<std::string>{"train", "[a,b]", "--eos", "-x", "--help", "--a.b=c"});
  CHECK(line.arguments.overrides.empty());
  CHECK(parse({"config", "check", "describe"}).arguments.words ==
        std::vector<std::string>{"check", "describe"});
}

TEST_CASE("help is a command too, and knows the commands of commands", "[commands]") {
  CHECK(parse({"help"}).text == help_text());
  CHECK(parse({"help", "--help"}).text == help_text());
  CHECK(parse({"help", "train"}).text == parse({"train", "-h"}).text);
  const std::string check = parse({"config", "check", "--help"}).text;
  CHECK(check.starts_with("levanter config check: "));
  CHECK(parse({"help", "config", "check"}).text == check);
  CHECK(parse({"config", "-h", "check"}).text == check);
  CHECK(parse({"config", "--bogus", "--help"}).text == parse({"help", "config"}).text);
  CHECK(check.find("--page") == std::string::npos);
  CHECK(refusal({"help", "trian"}).find("did you mean train") != std::string::npos);
  CHECK(refusal({"help", "config", "chek"}).find("check, print") != std::string::npos);
  CHECK_FALSE(refusal({"help", "train", "x"}).empty());
  for (const CommandEntry* entry : entries())
    for (const CommandEntry& sub : entry->commands)
      CHECK(parse({entry->name, sub.name, "-h"}).text == help_text(*entry, &sub));
}

TEST_CASE("numbers of options are whole, of this form and within their bounds", "[commands]") {
  Arguments a;
  a.values["n"] = "7";
  CHECK(a.integer("n", 1, 0, 10) == 7);
  CHECK(a.integer("absent", 4, 0, 10) == 4);
  CHECK(a.number("absent", 0.5, 0, 1) == 0.5);
  for (const char* bad :
       {"", " 7", "7 ", "7x", "0x7", "1e1", "11", "-1", "9999999999999999999999"}) {
    INFO(bad);
    a.values["n"] = bad;
    CHECK(failure_of(ErrorKind::kConfig, [&] {
            a.integer("n", 1, 0, 10);
          }).find("allowed  0 to 10") != std::string::npos);
  }
  for (const char* bad : {"nan", "inf", "1.5.0", "2"}) {
    INFO(bad);
    a.values["x"] = bad;
    CHECK_FALSE(failure_of(ErrorKind::kConfig, [&] { a.number("x", 1, 0, 1); }).empty());
  }
}

TEST_CASE("bytes are whole numbers with a unit of 1024, of 1000 or none", "[commands]") {
  CHECK(parse_bytes("17", "memory") == 17);
  CHECK(parse_bytes("3K", "memory") == 3 << 10);
  CHECK(parse_bytes("512M", "memory") == int64_t{512} << 20);
  CHECK(parse_bytes("24G", "memory") == int64_t{24} << 30);
  CHECK(parse_bytes("8388607T", "memory") == int64_t{8388607} << 40);
  CHECK(parse_bytes("5GB", "memory") == 5'000'000'000);
  CHECK(parse_bytes("9223372TB", "memory") == 9223372'000'000'000'000);
  for (const char* bad : {"", "G", "1.5G", "-1", "3X", "3B", "3Gb", "3GBB", "9223373TB",
                          "99999999999999999999", "8388608T", "18014398509481985K"}) {
    INFO(bad);
    CHECK_FALSE(failure_of(ErrorKind::kConfig, [&] { parse_bytes(bad, "memory"); }).empty());
  }
}

TEST_CASE("the help of the program and of each command is as it was reviewed", "[commands]") {
  const auto check = [](const std::string& name, const std::string& text) {
    INFO(name);
    CHECK(text == testing::expected_text(testing::golden_path(cat("help/", name, ".txt")), text));
  };
  check("levanter", help_text());
  for (const CommandEntry* entry : entries()) {
    check(entry->name, help_text(*entry));
    CHECK(parse({entry->name, "--help"}).text == help_text(*entry));
    CHECK(parse({entry->name, "x", "-h"}).text == help_text(*entry));
    CHECK(parse({entry->name, "--help"}).command == nullptr);
  }
}

TEST_CASE("help that was asked for is a result, help instead of a command is not", "[commands]") {
  const testing::Ended asked = testing::run_program({"--help"});
  CHECK(asked.code == 0);
  CHECK(asked.out == help_text());
  CHECK(asked.err == "");
  const testing::Ended bare = testing::run_program({});
  CHECK(bare.code == 2);
  CHECK(bare.out == "");
  CHECK(bare.err == help_text());
  const testing::Ended version = testing::run_program({"--version"});
  CHECK(version.code == 0);
  CHECK(version.out.starts_with("levanter "));
  CHECK(testing::run_program({"-V"}).out == version.out);
  CHECK(testing::run_program({"help"}).out == help_text());
}
