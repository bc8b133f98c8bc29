// Inputs made to do harm, each with the command that reads it.
#pragma once

#include <string>
#include <vector>

namespace levanter::faults {

struct HostileInput {
  std::string name;
  std::string path;  ///< the file that is written, in the folder of the trial
  std::string content;
  std::vector<std::string> words;  ///< what is run there
};

std::vector<HostileInput> hostile_inputs();

}  // namespace levanter::faults
