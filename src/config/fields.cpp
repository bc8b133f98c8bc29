// Collecting the keys of a struct.
#include "config/fields.h"

namespace levanter::config {

Field& Fields::add(const char* key, const Type& type, void* value, const char* meaning) {
  for (const Field& field : list_)
    LEV_CHECK(std::string_view(field.key) != key, "a struct declares a key twice");
  return list_.emplace_back(Field{.key = key, .meaning = meaning, .type = &type, .value = value});
}

}  // namespace levanter::config
