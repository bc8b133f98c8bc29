// Live buffers as people read them: those of equal modules together.
#include "runtime/plan_report.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace levanter {

std::string module_kind(std::string_view where) {
  const size_t end = std::min(where.find(','), where.size());
  std::vector<std::string> parts = split(where.substr(0, end), '.');
  for (std::string& part : parts)
    if (!part.empty() && part.find_first_not_of("0123456789") == std::string::npos) part = "*";
  return cat(join(parts, "."), where.substr(end));
}

std::vector<BufferGroup> group_buffers(std::span<const LiveBuffer> buffers) {
  std::vector<BufferGroup> groups;
  for (const LiveBuffer& buffer : buffers) {
    const std::string kind = module_kind(buffer.where);
    auto found = std::find_if(groups.begin(), groups.end(), [&](const BufferGroup& g) {
      return g.op == buffer.op && g.where == kind;
    });
    if (found == groups.end()) found = groups.insert(groups.end(), {0, 0, buffer.op, kind});
    found->bytes += buffer.bytes;
    ++found->count;
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const BufferGroup& a, const BufferGroup& b) { return a.bytes > b.bytes; });
  return groups;
}

}  // namespace levanter
