// What rank 0 finds out when a run starts, and tells the other ranks.
#include "train/decision.h"

#include <nlohmann/json.hpp>

namespace levanter::train {

namespace {

using nlohmann::json;

json written(const Decision& d) {
  json text = {{"num_train_steps", d.num_train_steps},
               {"length_key", d.length_key},
               {"start_step", d.start_step},
               {"first_step", d.first_step},
               {"resumes", d.resumes},
               {"rollbacks", to_json(d.rollbacks)},
               {"checkpoint", d.checkpoint},
               {"restore_optimizer", d.restore_optimizer},
               {"hf_folder", d.hf_folder},
               {"base_kind", static_cast<int>(d.base_kind)},
               {"base_place", d.base_place},
               {"vocab", d.vocab},
               {"tokenizer", d.tokenizer},
               {"need", d.need},
               {"config", d.config},
               {"data", d.data},
               {"numerics", d.numerics}};
  if (d.outcome) text["outcome"] = static_cast<int>(*d.outcome);
  return text;
}

Decision read(const json& text) {
  Decision d;
  if (text.contains("outcome")) d.outcome = static_cast<Outcome>(text["outcome"].get<int>());
  text.at("num_train_steps").get_to(d.num_train_steps);
  text.at("length_key").get_to(d.length_key);
  text.at("start_step").get_to(d.start_step);
  text.at("first_step").get_to(d.first_step);
  text.at("resumes").get_to(d.resumes);
  d.rollbacks = rollbacks_of(text.at("rollbacks"));
  text.at("checkpoint").get_to(d.checkpoint);
  text.at("restore_optimizer").get_to(d.restore_optimizer);
  text.at("hf_folder").get_to(d.hf_folder);
  d.base_kind = static_cast<StartKind>(text.at("base_kind").get<int>());
  text.at("base_place").get_to(d.base_place);
  text.at("vocab").get_to(d.vocab);
  text.at("tokenizer").get_to(d.tokenizer);
  text.at("need").get_to(d.need);
  text.at("config").get_to(d.config);
  text.at("data").get_to(d.data);
  text.at("numerics").get_to(d.numerics);
  return d;
}

}  // namespace

Decision tell(dist::Communicator& communicator, const Decision& decision) {
  if (communicator.size() == 1) return decision;
  // Paths may be no UTF-8: their bytes are told as they are.
  const bool tells = communicator.rank() == 0;
  const std::vector<uint8_t> mine =
      tells ? json::to_cbor(written(decision)) : std::vector<uint8_t>();
  const std::string told =
      dist::broadcast_text(communicator, {reinterpret_cast<const char*>(mine.data()), mine.size()});
  return tells ? decision : read(json::from_cbor(told));
}

Outcome tell(dist::Communicator& communicator, Outcome outcome) {
  dist::broadcast(communicator, std::as_writable_bytes(std::span(&outcome, 1)));
  return outcome;
}

}  // namespace levanter::train
