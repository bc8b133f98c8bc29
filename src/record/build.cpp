// What this program is.
#include "record/build.h"

#include <gnu/libc-version.h>
#include <utf8proc.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/processor.h"
#include "base/strings.h"
#include "device/backends.h"
#include "kernels/cpu/onednn.h"

namespace levanter::record {

extern const char kVersion[];
extern const char kRevision[];

namespace {

constexpr std::string_view kDirty = "-dirty";  // git's word

std::string compiler_name() {
#if defined(__clang__)
  return cat("clang ", __clang_major__, ".", __clang_minor__, ".", __clang_patchlevel__);
#else
  return cat("gcc ", __GNUC__, ".", __GNUC_MINOR__, ".", __GNUC_PATCHLEVEL__);
#endif
}

/// "oneDNN 2.6.3" as a name and a version.
std::pair<std::string, std::string> named_version(const std::string& text) {
  const size_t blank = text.rfind(' ');
  return {text.substr(0, blank), text.substr(blank + 1)};
}

std::string xxhash_version() {
  const unsigned number = XXH_versionNumber();
  return cat(number / 10000, ".", number / 100 % 100, ".", number % 100);
}

}  // namespace

Build this_build() {
  Build build;
  build.version = kVersion;
  build.revision = kRevision;
  build.dirty = build.revision.ends_with(kDirty);
  if (build.dirty) build.revision.resize(build.revision.size() - kDirty.size());
  build.compiler = compiler_name();
  build.libraries = {
      named_version(cpu::onednn_version()),
      {"zlib", zlibVersion()},
      {"zstd", ZSTD_versionString()},
      {"xxhash", xxhash_version()},
      {"utf8proc", utf8proc_version()},
      {"nlohmann_json", cat(NLOHMANN_JSON_VERSION_MAJOR, ".", NLOHMANN_JSON_VERSION_MINOR, ".",
                            NLOHMANN_JSON_VERSION_PATCH)},
      {"glibc", gnu_get_libc_version()}};
  for (const BackendEntry* entry : device::entries()) build.devices.emplace_back(entry->name);
  return build;
}

std::string describe(const Build& build) {
  std::vector<std::string> libraries;
  for (const auto& [name, version] : build.libraries) libraries.push_back(cat(name, " ", version));
  return cat("levanter ", build.version, "\nrevision         ", build.revision,
             build.dirty ? ", with changes" : "", "\ncompiler         ", build.compiler,
             "\nlibraries        ", join(libraries, ", "), "\ndevices          ",
             join(build.devices, ", "), "\ninstruction set  ", instruction_set(), "\n");
}

std::string json_of(const Build& build) {
  nlohmann::ordered_json libraries = nlohmann::ordered_json::object();
  for (const auto& [name, version] : build.libraries) libraries[name] = version;
  const nlohmann::ordered_json object = {{"version", build.version},
                                         {"revision", build.revision},
                                         {"dirty", build.dirty},
                                         {"compiler", build.compiler},
                                         {"libraries", libraries},
                                         {"devices", build.devices},
                                         {"instruction_set", instruction_set()}};
  return object.dump() + "\n";
}

}  // namespace levanter::record
