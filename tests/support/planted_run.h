// A whole run on a text in which one passage is of another kind: its loss jumps there.
#pragma once

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/folder.h"
#include "support/tiny_run.h"
#include "train/run.h"

namespace levanter::testing {

/// Of a text with a passage of another kind, which the eleventh batch or so holds.
struct PlantedRun : TinyRun {
  static constexpr int64_t kSteps = 18;

  PlantedRun() {
    std::string text = made_up_text(900, 5);
    std::string noise;
    for (size_t i = 0; i < 150; ++i) noise += "ZQXJ#@9!"[(i * i + i / 3) % 8];
    text.insert(2000, noise);
    write_file_atomic(folder / "text.txt", text);
  }

  /// A config whose batches come in the order of the text, with this guard.
  std::string file(const std::string& id, const std::string& guard,
                   const std::string& trainer = "") const {
    const std::string path =
        config_file(id, cat("num_train_steps = ", kSteps, "\n", trainer),
                    "embed_pdrop = 0.1\nattn_pdrop = 0.2\nresid_pdrop = 0.3\n");
    const std::string text = read_file(path);
    const size_t data = text.find("[data]\n") + 7;
    write_file_atomic(path, cat(text.substr(0, data), "shuffle = false\n", text.substr(data),
                                "[trainer.guard]\n", guard));
    return path;
  }
  TrainConfig guarded(const std::string& id, const std::string& guard,
                      const std::string& trainer = "") const {
    return load_train_config(file(id, guard, trainer));
  }
  std::string at(const std::string& id, const std::string& name) const {
    return folder / cat("runs/", id, "/", name);
  }
  std::string hash(const std::string& id) const {
    return nlohmann::json::parse(read_file(at(id, "summary.json")))["params_hash"];
  }
  std::string trained(const TrainConfig& config) const {
    REQUIRE(train::train(config, {}) == train::Outcome::kFinished);
    return hash(config.run_id());
  }
  std::vector<nlohmann::json> metrics(const std::string& id) const {
    std::vector<nlohmann::json> lines;
    for (const std::string& line : split(read_file(at(id, "metrics.jsonl")), '\n'))
      if (!line.empty()) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }
  /// What is left where the run was killed after this step.
  void forget_after(const std::string& id, int64_t step) const {
    for (const int64_t saved : list_checkpoints(at(id, "checkpoints")))
      if (saved > step) remove_checkpoint(step_folder(at(id, "checkpoints"), saved));
  }
};

}  // namespace levanter::testing
