// Every input that was made to do harm is an error, soon and in little memory.
#include "faults/hostile.h"

#include <malloc.h>

#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "faults/world.h"

namespace levanter::faults {

namespace {

namespace fs = std::filesystem;

constexpr double kSeconds = 2;  ///< of a processor
constexpr int64_t kBytes = 500 << 20;
constexpr double kHangs = 20;  ///< seconds of the clock

class Hostile final : public Trials {
 public:
  explicit Hostile(const Lab& lab)
      : lab_(lab), world_(lab, {"hostile", Recipe().model, Recipe().trainer, 4, 4}) {
    // The inputs wait on the disk: what this process holds would count as its children's memory.
    make_directories(folder_);
    for (HostileInput& it : hostile_inputs()) {
      write_file_atomic(join_path(folder_, cat(inputs_.size())), it.content);
      std::string().swap(it.content);
      inputs_.push_back(std::move(it));
    }
    ::malloc_trim(0);
    check_good_ones();
  }

  int64_t count(int64_t) override { return static_cast<int64_t>(inputs_.size()); }

  Verdict run(int64_t trial, Chance&) override {
    const auto number = static_cast<size_t>(trial) % inputs_.size();
    const HostileInput& it = inputs_[number];
    prepare();
    fs::copy(join_path(folder_, cat(number)), join_path(lab_.trial(), it.path),
             fs::copy_options::overwrite_existing);
    const Ended ended = read(it.words);
    const std::string used = cat(it.name, " (", format_fixed(ended.processor_seconds, 2), " s, ",
                                 format_bytes(ended.peak_bytes), "): ");
    if (const auto crashed = crash(ended)) return {crashed->outcome, used + crashed->words};
    if (ended.processor_seconds > slowest_) {
      slowest_ = ended.processor_seconds;
      slow_ = it.name;
    }
    if (ended.peak_bytes > largest_) {
      largest_ = ended.peak_bytes;
      large_ = it.name;
    }
    if (ended.code < 2 || ended.code > 6) return {Outcome::kSilent, used + ended.words()};
    // A busy machine makes every program slow, so the short form leaves time alone.
    if (!lab_.brief && ended.processor_seconds > kSeconds)
      return {Outcome::kLost, used + "it takes too long; " + ended.words()};
    if (ended.peak_bytes > kBytes)
      return {Outcome::kLost, used + "it takes too much memory; " + ended.words()};
    return {Outcome::kDetected, ""};
  }

  std::string notes() override {
    return cat("the slowest took ", format_fixed(slowest_, 2), " s of a processor (", slow_,
               "), the largest ", format_bytes(largest_), " (", large_, ")");
  }

 private:
  Ended read(const std::vector<std::string>& words) const {
    Process process(lab_, lab_.trial(), words, {}, join_path(lab_.trial(), "lines.jsonl"));
    return process.wait(kHangs);
  }

  /// What is refused has to be so for the harm in it: without, the commands end well.
  void check_good_ones() const {
    prepare();
    std::map<std::string, std::vector<std::string>> commands;
    for (const HostileInput& it : inputs_) commands.try_emplace(it.words[0], it.words);
    for (const auto& [name, words] : commands) {
      const Ended ended = read(words);
      LEV_CHECK(ended.code == 0, cat(name, " takes what does no harm: ", ended.words()));
    }
    remove_tree(lab_.trial());
  }

  /// Good files, of which one is to be replaced.
  void prepare() const {
    const std::string folder = lab_.trial();
    make_directories(folder);
    const auto put = [&](const char* name, std::string_view text) {
      write_file_atomic(join_path(folder, name), text);
    };
    for (const std::string& file : files_below(join_path(world_.base(), "out/hf")))
      if (file_name(file) == "config.json")
        fs::copy(join_path(world_.base(), "out/hf/" + parent_path(file)), join_path(folder, "hf"));
    fs::copy(join_path(world_.base(), "a.txt"), join_path(folder, "a.txt"));
    fs::copy(join_path(world_.base(), "tokenizer/tokenizer.json"),
             join_path(folder, "tokenizer.json"));
    put("f.toml", "[data.components.text]\ntrain = [\"a.txt\"]\n");
    put("lines.jsonl", cat("{\"text\": \"", std::string(5000, 'a'), "!\"}\n"));
    put("chats.jsonl",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}, "
        "{\"role\": \"assistant\", \"content\": \"ho\"}]}\n");
    put("chat.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}");
    put("chat.toml", R"([model]
max_seq_len = 2

[data]
tokenizer = { type = "bytes" }
cache_dir = "cache"

[data.components.chats]
train = ["chats.jsonl"]
format = { type = "chat", chat_template = "chat.jinja", mask_user_turns = false }
)");
  }

  const Lab& lab_;
  World world_;
  std::string folder_ = join_path(lab_.folder, "inputs");
  std::vector<HostileInput> inputs_;  ///< without their contents
  double slowest_ = 0;
  int64_t largest_ = 0;
  std::string slow_, large_;
};

}  // namespace

std::unique_ptr<Trials> make_hostile(const Lab& lab) { return std::make_unique<Hostile>(lab); }

}  // namespace levanter::faults
