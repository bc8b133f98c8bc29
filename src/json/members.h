// The members of a JSON object as they stand in its text, without reading what is in them.
#pragma once

#include <string_view>
#include <vector>

namespace levanter {

/// Views of the object's text.
struct JsonMember {
  std::string_view key;    ///< with its quotation marks
  std::string_view value;  ///< blanks around it may be among it
};

/// The members of an object that is known to be whole JSON, in their order.
std::vector<JsonMember> members_of(std::string_view object);

}  // namespace levanter
