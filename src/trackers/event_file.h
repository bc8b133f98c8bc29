// TensorBoard's event files: TFRecord framing around hand-encoded protocol buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trackers/tracker.h"

namespace levanter::trackers {

/// The Castagnoli checksum (polynomial 0x1EDC6F41, reflected) of the bytes; "123456789" gives
/// 0xE3069283.
uint32_t crc32c(std::string_view bytes);

/// A TFRecord: length (8 bytes), masked crc of the length, payload, masked crc of the payload,
/// where masked(c) = (c rotated right by 15) + 0xa282ead8.
std::string tf_record(std::string_view payload);

/// tensorflow.Event {wall_time = 1, file_version = 3}: the first record of a file.
std::string version_event(double wall_time);
/// tensorflow.Event {wall_time = 1, step = 2, session_log = 7 {status = START}}: readers drop what
/// earlier files say of this step and later ones.
std::string restart_event(double wall_time, int64_t step);
/// tensorflow.Event {wall_time = 1, step = 2, summary = 5 {value {tag = 1, simple_value = 2}...}}.
std::string scalars_event(double wall_time, int64_t step, const Metrics& metrics);

/// tensorflow.Summary.Value {tag = 1, histo = 5} of each: HistogramProto {min = 1, max = 2, num =
/// 3, sum = 4, sum_squares = 5, bucket_limit = 6, bucket = 7}, a bucket by its upper limit.
std::string histograms_event(double wall_time, int64_t step, const Histograms& histograms);

/// A text, which TensorBoard shows as Markdown.
std::string text_event(double wall_time, int64_t step, std::string_view tag, std::string_view text);

/// Keys and their values as TOML.
using KeyTexts = std::vector<std::pair<std::string, std::string>>;
/// What the HPARAMS page shows of a run: its keys and, at its end, whether that was a good one.
std::string session_start_event(double wall_time, std::string_view name, const KeyTexts& values);
std::string session_end_event(double wall_time, bool good);

}  // namespace levanter::trackers
