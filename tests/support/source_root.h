// Where the tree stands that these tests belong to.
#pragma once

#include <string>

namespace levanter::testing {

/// The folder of meson.build. Known to one source file alone, so that a compiler's cache serves
/// clones in any folder.
std::string source_root();

}  // namespace levanter::testing
