// The Hugging Face folders that a run leaves.
#include "train/hf/folders.h"

#include <utility>

#include "base/files.h"
#include "base/stop.h"
#include "base/strings.h"
#include "checkpoint/folder.h"
#include "optim/optimizer.h"

namespace levanter::train {

HfFolders::HfFolders(const TrainConfig& config, Tracker& tracker, bool ema)
    : config_(config),
      tracker_(&tracker),
      ema_(ema),
      path_(join_path(config.hf_save_path->resolved, config.run_id())) {
  if (ema) path_ = join_path(path_, optim::kEma);
  if (config.hf_save_dtype) options_.dtype = hf_dtype(*config.hf_save_dtype);
  options_.overwrite = true;  // of what a former start has written
  options_.progress = [&tracker](const Progress& progress) { tracker.progress(progress); };
}

std::vector<HfFolders> hf_folders(const TrainConfig& config, Tracker& tracker) {
  std::vector<HfFolders> folders;
  if (!config.hf_save_path) return folders;
  folders.emplace_back(config, tracker);
  if (config.optimizer->ema) folders.emplace_back(config, tracker, true);
  return folders;
}

bool HfFolders::due(int64_t step) const {
  return step > 0 && (step % config_.hf_save_steps == 0 || step == config_.trainer.num_train_steps);
}

void HfFolders::write(int64_t step, const HfSource& source) {
  try {
    const HfReport report = export_hf(source, folder(step), options_);
    failed_.erase(step);
    failing_ = false;
    tracker_->message(cat("wrote ", folder(step), report.tokenizer ? "" : ", without a tokenizer"));
  } catch (const Error& error) {                     // the run itself loses nothing
    if (error.kind() == ErrorKind::kSignal) return;  // the next start does what is left
    failed(step, error);
  }
}

void HfFolders::failed(int64_t step, const Error& error) {
  failed_[step] = error.message();
  if (!failing_)
    tracker_->message(cat(error.what(), "\nthe run goes on; the folder is made later"));
  failing_ = true;
}

std::vector<int64_t> HfFolders::missing(const std::string& checkpoints, int64_t last) const {
  std::vector<int64_t> steps;
  for (const int64_t step : list_checkpoints(checkpoints))
    if (step <= last && due(step) && !compat::is_hf_folder(folder(step)) &&
        !is_peft_folder(folder(step)))
      steps.push_back(step);
  return steps;
}

void HfFolders::make_missing(const std::string& checkpoints, int64_t last) {
  try {
    if (is_directory(path_)) sweep();
  } catch (const Error& error) {
    tracker_->message(error.message());  // it only takes space
  }
  for (const int64_t step : missing(checkpoints, last)) {
    if (stop_requested()) return;
    std::vector<std::string> problems;
    try {
      write(step, hf_source(step_folder(checkpoints, step), problems, ema_));
    } catch (const Error& error) {  // of the checkpoint
      failed(step, error);
    }
  }
}

void HfFolders::sweep() {
  for (const std::string& name : list_directory(path_)) {
    if (!is_temporary_name(name) || !step_of(name.substr(0, name.find('.')))) continue;
    const std::string path = join_path(path_, name);
    remove_tree(path);
    tracker_->message(cat("removed ", path, ", which a stopped process left"));
  }
}

void HfFolders::account() const {
  if (failed_.empty()) return;
  std::vector<std::string> names;
  for (const auto& [step, why] : failed_) names.push_back(cat("step-", step));
  tracker_->message(cat(path_, ": ", count_of(static_cast<int64_t>(names.size()), "folder"),
                        " could not be written: ", join(names, ", ")));
  const auto last = failed_.find(config_.trainer.num_train_steps);
  if (last == failed_.end()) return;
  throw Error(ErrorKind::kIo, cat("the model of the last step is not written: ", last->second))
      .at(folder(config_.trainer.num_train_steps))
      .hint("the same command tries this again");
}

std::string HfFolders::folder(int64_t step) const { return step_folder(path_, step); }

}  // namespace levanter::train
