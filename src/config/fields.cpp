// Collecting the keys of a struct.
#include "config/fields.h"

namespace levanter::config {

Field& Fields::add(const char* key, const Type& type, void* value, const char* meaning) {
  for (const Field& field : list_)
    LEV_CHECK(std::string_view(field.key) != key, "a struct declares a key twice");
  Field field{.key = key, .meaning = meaning, .type = &type, .value = value};
  const Type* element = &type;
  while (element->element) element = &element->element();
  if (element->kind == Kind::kWord) field.words = element->words();
  return list_.emplace_back(std::move(field));
}

}  // namespace levanter::config
