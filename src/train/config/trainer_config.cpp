// The keys of [trainer] and [start_from], and what Levanter has there that we do not.
#include <algorithm>

#include "base/strings.h"
#include "device/backends.h"
#include "dist/communicator.h"
#include "trackers/tracker.h"
#include "train/config/foreign_keys.h"
#include "train/config/profile_text.h"
#include "train/config/train_config.h"

namespace levanter::dist {

std::span<const config::Word<Sharding>> words_of(Sharding) {
  static constexpr config::Word<Sharding> kWords[] = {{Sharding::kNone, "none"},
                                                      {Sharding::kOptimizer, "optimizer"},
                                                      {Sharding::kParameters, "parameters"}};
  return kWords;
}

}  // namespace levanter::dist

namespace levanter {

void KeepRule::fields(config::Fields& f) {
  f("every", every, "number of steps between two of them").required().at_least(1).unit("steps");
  f("until", until, "the last step of the rule").at_least(1).unit("steps");
}

void CheckpointerConfig::fields(config::Fields& f) {
  f("save_interval", save_interval,
    "time between temporary checkpoints, of which the latest is kept; \"none\" saves none")
      .above(0)
      .may_change();
  f("keep", keep, "steps whose checkpoints are kept for good; the last step's always is")
      .may_change();
  f("keep_best", keep_best,
    "whether the checkpoint of the lowest eval/loss so far is kept, until a better one is saved")
      .may_change();
  f.dropped({"base_path", "temporary_base_path", "append_run_id_to_base_path"},
            "checkpoints live in <trainer.log_dir>/<trainer.id>/checkpoints");
  f.dropped({"delete_old_temp_checkpoints", "keep_last_temporary_checkpoints"},
            "the latest temporary checkpoint is kept");
  f.dropped("debug", "remove it: a checkpoint that cannot be written is an error that names why");
  f.dropped("write", "the writer sizes its own buffers");
}

void CheckpointerConfig::validate(config::Problems& p) const {
  for (size_t i = 1; i < keep.size(); ++i) {
    const std::optional<int64_t> before = keep[i - 1].until;
    if (before && (!keep[i].until || *keep[i].until > *before)) continue;
    const std::string key = cat("keep[", before ? i : i - 1, "]");
    if (!before)
      p.add(key, cat(p.name(key), " has no until, so the rules after it are never reached"))
          .allowed("until in every rule but the last");
    else
      p.add(cat(key, ".until"), cat(p.name(key), ".until = ", *keep[i].until,
                                    " does not come after ", *before, " of the rule before"))
          .allowed(cat("above ", *before));
  }
}

std::span<const config::Word<GuardAction>> words_of(GuardAction) {
  static constexpr config::Word<GuardAction> kWords[] = {{GuardAction::kStop, "stop"},
                                                         {GuardAction::kSkip, "skip"},
                                                         {GuardAction::kRollback, "rollback"}};
  return kWords;
}

void GuardConfig::fields(config::Fields& f) {
  f("on_nan", on_nan,
    "what the run does where loss or gradient norm are not finite: it stops, skips the step, or "
    "rolls back to an earlier one and leaves out the batches that led here")
      .may_change();
  f("on_spike", on_spike,
    "what it does where loss or gradient norm jump; by default that is not looked for")
      .may_change();
  f("loss_spike", loss_spike, "a loss of more than so many medians of the window is a spike")
      .at_least(1)
      .may_change();
  f("norm_spike", norm_spike, "a gradient norm of more than so many medians is one")
      .at_least(1)
      .may_change();
  f("window", window,
    "steps whose median is compared with, taken or not; none is a spike before half as many")
      .at_least(2)
      .at_most(4096)
      .unit("steps")
      .may_change();
  f("max_skips", max_skips, "steps skipped one after the other; one more ends the run")
      .at_least(1)
      .unit("steps")
      .may_change();
  f("rollback_steps", rollback_steps,
    "how far a rollback goes back at least; the batches of these steps are left out from then on")
      .at_least(1)
      .unit("steps")
      .may_change();
  f("max_rollbacks", max_rollbacks, "rollbacks of a run; one more ends it")
      .at_least(1)
      .may_change();
  f("max_bundles", max_bundles,
    "bundles kept of batches that were not learned from, with the state before them: the first "
    "and the newest; 0 keeps none")
      .at_least(0)
      .may_change();
}

void BatchStageConfig::fields(config::Fields& f) {
  f("until", until, "the first step, counted from 0, that is no longer of the stage")
      .required()
      .at_least(1)
      .at_most(1e12)
      .unit("steps");
  f("size", size, "sequences of each step, at most trainer.train_batch_size")
      .required()
      .at_least(1)
      .at_most(1e7)
      .unit("sequences");
}

void WatchdogConfig::fields(config::Fields& f) {
  f("start", start,
    "the longest wait for a rank before the first step, while one reads texts or makes their "
    "caches; \"none\" waits without end")
      .above(0)
      .may_change();
  f("step", step, "the longest wait for a rank in a step").above(0).may_change();
  f("save", save, "the longest wait for a rank between steps, in evaluations and saves")
      .above(0)
      .may_change();
}

void TrainerConfig::fields(config::Fields& f) {
  f("seed", seed, "what all random numbers derive from").at_least(0);
  f("mp", mp,
    "number formats: \"f32\", or \"p=f32,c=bf16\" for parameters in f32 and arithmetic on bf16")
      .may_change();  // compared as it comes out
  f("frozen", frozen,
    "what the matrices of a model under an adapter are held in: with \"bf16\", which takes "
    "arithmetic on bf16, they have no copy in f32, and no bit of what is learned changes; with "
    "\"int8\" they are rounded to int8 with a scale a row, embeddings and head aside")
      .one_of({"f32", "bf16", "int8"})
      .may_change();
  f("num_train_steps", num_train_steps, "optimizer steps of the run")
      .at_least(1)
      .at_most(1e12)
      .unit("steps")
      .may_change();
  f("num_train_epochs", num_train_epochs,
    "instead of num_train_steps: how often the rows of all training data are seen, rounded up to "
    "whole steps")
      .above(0)
      .at_most(1e6)
      .unit("epochs")
      .may_change();
  f("train_batch_size", train_batch_size, "sequences of one optimizer step")
      .at_least(1)
      .at_most(1e7)
      .unit("sequences");
  f("batch_schedule", batch_schedule,
    "stages of the run with smaller batches, which are cut into the same groups of microbatches: "
    "of "
    "size sequences in the steps before until");
  f("microbatch_size", microbatch_size,
    "sequences whose gradient is computed at once, a divisor of train_batch_size; by default the "
    "largest one with at most 8192 tokens")
      .at_least(1)
      .unit("sequences")
      .may_change();  // compared as it comes out
  f("gradient_groups", gradient_groups,
    "groups of microbatches whose gradients are summed in a fixed tree, and so the most ranks; by "
    "default 8, or the number of microbatches when that is less")
      .at_least(1)
      .may_change();  // compared as it comes out
  f("steps_per_eval", steps_per_eval, "steps between two evaluations")
      .at_least(1)
      .unit("steps")
      .may_change();
  f("max_eval_batches", max_eval_batches, "batches of an evaluation at most; by default all")
      .at_least(1)
      .unit("batches")
      .may_change();
  f("log_dir", log_dir, "the folder in which each run has its own").may_change();
  f("id", id, "name of the run and its folder; by default the config file's, without .toml")
      .may_change();
  f("device", device, "what computes: the fast CPU kernels, or the plain ones that define them")
      .one_of(config::names_of(device::entries()))
      .may_change();
  f("threads", threads,
    "CPU threads of each rank; by default the processors that its process may use, shared by the "
    "ranks that may use the same")
      .at_least(1)
      .at_most(1024)
      .may_change();
  f("communicator", communicator,
    "how ranks talk: there is one, or they are threads of the process, or processes of a launcher")
      .one_of(config::names_of(dist::entries()))
      .may_change();
  f("ranks", ranks, "data-parallel ranks; those of mpirun or srun count themselves")
      .at_least(1)
      .at_most(1024)
      .may_change();
  f("shard", shard,
    "what each rank has a part of, instead of all: nothing, the optimizer's state, or the "
    "parameters too, which are then gathered where they are read")
      .may_change();
  f("tracker", tracker, "where metrics go: words, or tables where a tracker has keys of its own")
      .may_change();
  f("checkpointer", checkpointer, "when the state of the run is saved").may_change();
  f("guard", guard, "which steps are not taken, and what the run does then").may_change();
  f("watchdog", watchdog,
    "when ranks that are processes give up one that is late, and with it the run")
      .may_change();
  f("watch", watch, "what is measured of parameters and attention, at some steps").may_change();
  f("sample", sample, "what the model in training is asked to write, after some steps")
      .may_change();
  f("profile", profile, "steps of which trace.json in the run's folder tells every op")
      .may_change();
  f("crash_on_nan", crash_on_nan, "in place of guard.on_nan: true is \"stop\", false is \"skip\"")
      .may_change();
  f("require_same_bits", require_same_bits,
    "whether a resume is refused where libraries or instructions would change the bits")
      .may_change();
  f("debug", debug,
    "whether every step checks that it reads what was written for it, in poisoned memory; slow, "
    "and takes two to four times the memory")
      .may_change();
  f("schedule_seed", schedule_seed,
    "what draws a random order of the steps inside a microbatch, to show that none changes a bit; "
    "by default the order that takes the least memory")
      .at_least(0)
      .may_change();
  f.dropped("batch_size", "write train_batch_size");
  f.dropped("quantization", "nothing is computed in int8 or fp8; trainer.mp says what it is in");
  f.dropped("model_averaging", "write optimizer.ema = { decay = 0.999 }");
  f.dropped("wandb",
            "write tracker = [\"console\", \"jsonl\", { type = \"wandb\", project = ... }]");
  f.dropped({"profiler", "profiler_start_step", "profiler_num_steps", "profiler_perfetto_link"},
            "write profile = { steps = [6, 105] } for steps 6 to 105");
  f.dropped({"log_jaxprs", "log_xla_hlo"},
            "remove it: levanter plan and levanter bench kernels show what a step is made of");
  f.dropped("crash_on_inf", "write trainer.guard.on_nan, which covers both");
  f.dropped("batch_axis", "the batch's axis is called batch");
  f.dropped({"fsdp_axis", "parameter_axis_resources"},
            "write trainer.shard = \"parameters\", whole parameters at a time");
  f.dropped({"tensor_parallel_axes", "axis_resources", "model_axis_size"},
            "data parallelism is trainer.ranks; nothing is computed in parts");
  f.dropped({"replica_ici_axis_size", "replica_dcn_axis_size", "mesh", "use_explicit_mesh_axes"},
            "write trainer.ranks");
  f.dropped("per_device_parallelism", "write microbatch_size, the same on every device");
  f.dropped("per_device_eval_parallelism", "evaluation uses microbatch_size");
  f.dropped("allow_nondivisible_batch_size",
            "write a microbatch_size that divides train_batch_size");
  f.dropped("load_checkpoint",
            "a run resumes by itself; write start_from = { kind = \"checkpoint\", path = ... } to "
            "begin with another run's");
  f.dropped({"load_checkpoint_path", "initialize_from"},
            "write start_from = { kind = \"checkpoint\", path = ... }");
  f.dropped("allow_partial_checkpoint", "a checkpoint must hold every parameter");
  f.dropped("jax_config", "remove it: random numbers always are JAX's partitionable Threefry");
  f.dropped("jax_compilation_cache_dir", "remove it: a step is compiled anew at every start");
  f.dropped({"distributed", "ray"}, "write communicator and ranks");
  f.dropped("require_accelerator", "write trainer.device");
  f.dropped("shutdown_at_exit", "let the script that starts levanter do it");
  f.dropped("elastic", "remove it: ranks work in step");
}

namespace {

/// What a policy names for parameters, compute and output, as it is written; f32 by default.
struct Policy {
  std::string params = "f32", compute = "f32", output = "f32";
};

/// One format for all, or "p=f32,c=bf16,o=f32" in any order; none when the text is no policy.
std::optional<Policy> parse_policy(std::string_view text) {
  const std::string whole(trim(text));
  if (text.find('=') == std::string_view::npos) return Policy{whole, whole, whole};
  Policy policy;
  std::string seen;
  for (const std::string& part : split(text, ',')) {
    const std::vector<std::string> sides = split(part, '=');
    if (sides.size() != 2) return std::nullopt;
    std::string_view role = trim(sides[0]);
    for (const std::string_view name : {"params", "compute", "output"})
      if (role == name) role = name.substr(0, 1);
    if (role != "p" && role != "c" && role != "o") return std::nullopt;
    if (seen.find(role[0]) != std::string::npos) return std::nullopt;
    seen += role;
    const std::string_view format = trim(sides[1]);
    if (role == "p") policy.params = format;
    if (role == "c") policy.compute = format;
    if (role == "o") policy.output = format;
  }
  return policy;
}

/// The element type that a policy's word means; none for one that nothing computes in.
std::optional<DType> format_of(std::string_view word) {
  if (word == "f32" || word == "float32" || word == "full") return DType::f32;
  if (word == "bf16" || word == "bfloat16") return DType::bf16;
  return std::nullopt;
}

void check_precision(const std::string& mp, config::Problems& p) {
  const auto fault = [&](const std::string& message) -> auto& {
    return p.add("mp", cat(p.name("mp"), " = ", quote(mp), message))
        .allowed("\"f32\" or \"p=f32,c=bf16\"");
  };
  const std::optional<Policy> policy = parse_policy(mp);
  if (!policy) {
    fault(" is not a precision policy")
        .hint("a policy is one format, or one each for p (parameters), c (compute), o (output)");
    return;
  }
  for (const std::string* word : {&policy->params, &policy->compute, &policy->output})
    if (!format_of(*word)) {
      fault(cat(" asks for ", quote(*word), ", and no device computes in it"));
      return;
    }
  for (const auto& [what, word] :
       {std::pair("parameters", policy->params), std::pair("outputs", policy->output)})
    if (format_of(word) != DType::f32) {
      fault(cat(" asks for ", what, " in ", word))
          .hint("parameters and losses are always f32; what is computed between may be bf16");
      return;
    }
}

}  // namespace

DType TrainerConfig::compute() const {
  const std::optional<Policy> policy = parse_policy(mp);
  return policy ? format_of(policy->compute).value_or(DType::f32) : DType::f32;
}

std::string TrainerConfig::precision() const {
  return compute() == DType::bf16 ? "p=f32,c=bf16" : "f32";
}

namespace {

/// Two of a kind would write to the same files.
void check_trackers(const TrackerList& trackers, config::Problems& p) {
  for (size_t i = 0; i < trackers.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (trackers[i].type == trackers[j].type) {
        p.add("tracker", cat(p.name("tracker"), " names ", trackers[i].type, " twice"));
        return;
      }
}

}  // namespace

namespace {

/// What is wrong with the steps themselves, ProfileConfig says.
void check_profile(const TrainerConfig& t, config::Problems& p) {
  const std::vector<int64_t>& steps = t.profile.steps;
  if (t.num_train_epochs || steps.size() != 2 || steps[0] <= t.num_train_steps) return;
  p.add("profile.steps",
        cat(p.name("profile.steps"), " = ", steps_text(t.profile),
            " begins after the run's last step, ", t.num_train_steps),
        {"num_train_steps"})
      .allowed(cat("1 to ", t.num_train_steps));
}

}  // namespace

void TrainerConfig::validate(config::Problems& p) const {
  check_precision(mp, p);
  if (communicator == "single" && ranks > 1)
    p.add("ranks", cat(p.name("ranks"), " = ", ranks, " needs ranks that can talk to each other"),
          {"communicator"})
        .allowed("1 with communicator = \"single\"")
        .hint("write communicator = \"threads\"");
  check_trackers(tracker, p);
  check_profile(*this, p);
  if (!id) return;
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  constexpr size_t kLongest = 200;  // of a folder's name, with room for what is added to it
  if (id->size() > kLongest)
    p.add("id", cat(p.name("id"), " has ", id->size(), " characters"))
        .allowed(cat("at most ", kLongest));
  else if (id->empty() || (*id)[0] == '.' || !std::all_of(id->begin(), id->end(), good))
    p.add("id", cat(p.name("id"), " = ", quote(*id), " cannot name a run's folder"))
        .allowed("letters, digits, '.', '_' and '-', not beginning with '.'");
}

std::span<const config::Word<StartKind>> words_of(StartKind) {
  static constexpr config::Word<StartKind> kWords[] = {
      {StartKind::kNone, "none"}, {StartKind::kCheckpoint, "checkpoint"}, {StartKind::kHf, "hf"}};
  return kWords;
}

std::span<const config::Word<StartPart>> words_of(StartPart) {
  static constexpr config::Word<StartPart> kWords[] = {{StartPart::kAll, "all"},
                                                       {StartPart::kModel, "model"}};
  return kWords;
}

void StartFrom::fields(config::Fields& f) {
  f("kind", kind, "nothing, a checkpoint of another run, or a Hugging Face folder's weights")
      .may_change();
  f("path", path,
    "the checkpoint: a step's folder, a run's for its latest, or a Hugging Face folder")
      .may_change();
  f("what", what,
    "the whole state with its step, or the parameters of the model alone, which is all that a "
    "Hugging Face folder has")
      .may_change();
}

void StartFrom::validate(config::Problems& p) const {
  if (kind != StartKind::kNone && !path)
    p.add("kind",
          cat(p.name("kind"), " = ", quote(config::word_of(kind)), " needs ", p.name("path")),
          {"path"})
        .hint(kind == StartKind::kHf ? "write path = \"DIR\", a folder with config.json"
                                     : "write path = \"logs/RUN\", or the folder of one step");
  if (kind != StartKind::kNone) return;
  const auto unread = [&](const char* key) {
    p.add(key, cat(p.name(key), " is not read with ", p.name("kind"), " = \"none\""), {"kind"})
        .hint(cat("write ", p.name("kind"), " = \"checkpoint\" or \"hf\", or remove the key"));
  };
  if (path) unread("path");
  if (what != StartPart::kAll) unread("what");
}

void TrainConfig::fields(config::Fields& f) {
  f("model", model, "the network");
  f("adapter", adapter, "what is trained beside it while the network itself stays as it is");
  f("data", data, "what it learns from");
  f("optimizer", optimizer, "how parameters are updated");
  f("objective", objective, "what the model is trained for: texts, or preferences among answers");
  f("trainer", trainer, "the run: its length, batches, devices and records");
  f("start_from", start_from, "what a run begins with when it has no checkpoint of its own")
      .may_change();
  f("hf_save_path", hf_save_path,
    "the folder in which the model is kept as Hugging Face folders <trainer.id>/step-N; by default "
    "none are written")
      .may_change();
  f("hf_save_steps", hf_save_steps, "steps between two of them; the last step's is always written")
      .at_least(1)
      .unit("steps")
      .may_change();
  f("hf_save_dtype", hf_save_dtype, "what numbers are rounded to there; by default f32")
      .one_of({"f32", "bf16", "f16"})
      .may_change();
  f("z_loss_weight", z_loss_weight,
    "weight in the training loss of each token's squared logsumexp of logits, which keeps them "
    "small; evaluations leave it out")
      .at_least(0);
  f("stop_strings", stop_strings,
    "texts before which what the model writes ends; generate and exported folders keep them")
      .may_change();
  f.dropped("initialize_from_hf", "write start_from = { kind = \"hf\", path = ... }");
  f.dropped("use_hf_model_config", "write model = { type = \"from_hf\", path = ... }");
  f.dropped("initialize_from_checkpoint_path",
            "write start_from = { kind = \"checkpoint\", path = ... }, with what = \"model\" to "
            "take the weights without the optimizer's state and the step");
  f.dropped("hf_upload", "remove it: nothing is sent over a network");
  f.dropped("data_seed", "trainer.seed draws the order of the data too; it has no seed of its own");
  f.dropped("epoch",
            "write trainer.num_train_epochs, or trainer.num_train_steps: the data begin anew as "
            "often as it takes");
  f.dropped({"eval_harness", "eval_harness_steps"},
            "remove it: validation is the loss on data.components");
  f.dropped("log_entropy", "remove it: entropies are not logged");
  f.dropped("train_seq_len", "model.max_seq_len is the length of what is trained on");
  f.dropped("pad_tokenizer_to_match_model", "write model.vocab_size");
  f.dropped(
      "wandb",
      "write trainer.tracker = [\"console\", \"jsonl\", { type = \"wandb\", project = ... }]");
  f.dropped("tokenizer", "write data.tokenizer");
  foreign_keys(f);
  f.dropped({"initialize_from", "load_checkpoint"},
            "write start_from = { kind = \"checkpoint\", path = ... }");
}

}  // namespace levanter
