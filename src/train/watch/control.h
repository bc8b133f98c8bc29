// What people ask of a run that is under way: words in the file `control` of its folder.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace levanter::train {

/// What is asked of the hooks after the step that has just been done.
struct Requests {
  bool save = false, evaluate = false;
};

inline constexpr std::string_view kControlFile = "control";
/// What an "evaluate" that cannot be done is answered.
inline constexpr std::string_view kNothingToValidateWith =
    "no component has validation files or a validation_fraction";
/// The words that it may hold, one a line, and what each asks for.
struct ControlWord {
  const char* word;
  const char* meaning;
};
std::span<const ControlWord> control_words();

/// Adds a word to the file of a run's folder; a run that is under way reads it after a step.
/// error  kIo where it cannot be written
void ask(const std::string& run_folder, std::string_view word);

/// Rank 0's look at the file.
class Control final {
 public:
  /// Removes what was asked before the run began; `say` hears of that and of words that are none.
  Control(const std::string& run_folder, std::function<void(std::string_view)> say);

  /// Fills in what is asked since the last time, and takes the file away. `stop` is a stop as a
  /// signal's: see base/stop.h. Looks no more than ten times a second, as a file may be far.
  void look(Requests& requests);

 private:
  std::string take();

  std::string path_;
  std::function<void(std::string_view)> say_;
  std::chrono::steady_clock::time_point looked_ = {};
  bool told_ = false;  ///< that the file cannot be read
};

}  // namespace levanter::train
