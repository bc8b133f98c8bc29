// Which data a run was trained on, by their content: written into its checkpoints, compared at a
// resume.
#pragma once

#include <string>
#include <string_view>

#include "data/text_data.h"

namespace levanter::train {

/// {"web/train": {"documents": 10, "tokens": 2000, "xxh3": "..."}, ...}: what stands as "data" in a
/// manifest's extra object.
std::string data_record(const data::TextData& data);

/// Whether a manifest's extra object says what the data were. Then their paths may change.
bool records_data(std::string_view extra_json);

/// How the splits that both the record and the data have differ: "web/train was 10 tokens in ...
/// and is ..."; "" where they do not, or nothing is recorded.
std::string changed_data(std::string_view extra_json, const data::TextData& data);

/// Throws unless the data are those of the record, if there is one.
///   folder  the checkpoint's
/// error  kData naming every split that differs, with what it was and is
void require_same_data(std::string_view extra_json, const data::TextData& data,
                       const std::string& folder);

}  // namespace levanter::train
