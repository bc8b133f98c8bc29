// levanter verify: checks a checkpoint's checksums and prints its params_hash.
#include <cstdio>

#include "base/error.h"
#include "base/strings.h"
#include "commands/command.h"
#include "checkpoint/load.h"

namespace levanter::commands {

namespace {

constexpr Option kOptions[] = {
    {"checkpoint", "DIR", "a step folder, or a run folder to check all of its checkpoints", true},
    {"json", "", "print one JSON object"},
};

int run(const Arguments& a) {
  const VerifyReport report = verify_checkpoint(a.text("checkpoint"));
  if (a.has("json")) {
    for (const std::string& p : report.problems) std::fprintf(stderr, "bad   %s\n", p.c_str());
    print(cat("{\"step\": ", report.step, ", \"params_hash\": ", quote(report.params_hash),
              ", \"ok\": ", report.ok, "}\n"));
  } else {
    for (const std::string& p : report.problems) print(cat("bad   ", p, "\n"));
    if (report.step >= 0)
      print(cat(report.folder, "\nstep         ", report.step, "\nparams_hash  ",
                report.params_hash, "\n"));
    print(report.ok ? "ok\n" : "not ok\n");
  }
  return report.ok ? 0 : static_cast<int>(ErrorKind::kCheckpoint);
}

}  // namespace

extern const CommandEntry verify_entry;
const CommandEntry verify_entry = {
    "verify", "check a checkpoint's checksums, print its params_hash", "", 0, kOptions, false, run};

}  // namespace levanter::commands
