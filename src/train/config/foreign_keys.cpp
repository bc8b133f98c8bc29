// What other programs call our keys: Hugging Face's trainer and config.json, and nanoGPT.
#include "train/config/foreign_keys.h"

namespace levanter {

namespace {

struct ForeignKey {
  const char* key;
  const char* hint;
};

constexpr const char* kBatch =
    "write trainer.train_batch_size, the sequences of a whole step; trainer.microbatch_size are "
    "those computed at once";
constexpr const char* kSteps = "write trainer.num_train_steps";
constexpr const char* kWarmup =
    "write optimizer.warmup: steps above 1, a fraction of the run up to 1";
constexpr const char* kEval = "write trainer.steps_per_eval";
constexpr const char* kFolder =
    "write trainer.log_dir, in which each run has the folder trainer.id";
constexpr const char* kDropout =
    "write model.embed_pdrop, model.attn_pdrop and model.resid_pdrop, which gpt2 has";
constexpr const char* kWhole =
    "write model = { type = \"from_hf\", path = \"DIR\" }: weights and tokenizer are its own too";
constexpr const char* kAlways = "remove it: every step is logged";

constexpr ForeignKey kForeign[] = {
    // config.json of Hugging Face
    {"hidden_size", "write model.hidden_dim"},
    {"intermediate_size", "write model.intermediate_dim"},
    {"num_hidden_layers", "write model.num_layers"},
    {"num_attention_heads", "write model.num_heads"},
    {"num_key_value_heads", "write model.num_kv_heads"},
    {"max_position_embeddings", "write model.max_seq_len"},
    {"n_positions", "write model.max_seq_len"},
    {"n_ctx", "write model.max_seq_len"},
    {"n_inner", "write model.intermediate_dim"},
    {"hidden_act", "write model.activation_function"},
    {"rms_norm_eps", "write model.layer_norm_epsilon"},
    {"layer_norm_eps", "write model.layer_norm_epsilon"},
    {"rope_theta", "write model.rope = { theta = ... }"},
    {"rope_scaling", "write model.rope = { type = ..., factor = ... }"},
    {"attention_dropout", "write model.attn_pdrop"},
    {"model_type", "write model.type"},
    // its trainer's arguments
    {"model_name_or_path", kWhole},
    {"output_dir", kFolder},
    {"run_name", "write trainer.id"},
    {"report_to", "write trainer.tracker"},
    {"max_steps", kSteps},
    {"per_device_train_batch_size", kBatch},
    {"per_device_eval_batch_size", "evaluation computes trainer.microbatch_size sequences at once"},
    {"gradient_accumulation_steps",
     "write trainer.microbatch_size: trainer.train_batch_size over it is the number of "
     "microbatches"},
    {"warmup_ratio", kWarmup},
    {"warmup_steps", kWarmup},
    {"lr_scheduler_type", "write optimizer.lr_schedule"},
    {"adam_beta1", "write optimizer.beta1"},
    {"adam_beta2", "write optimizer.beta2"},
    {"adam_epsilon", "write optimizer.epsilon"},
    {"bf16", "write trainer.mp = \"p=f32,c=bf16\""},
    {"fp16", "nothing is computed in f16; trainer.mp = \"p=f32,c=bf16\" computes in bf16"},
    {"eval_steps", kEval},
    {"eval_strategy", kEval},
    {"evaluation_strategy", kEval},
    {"save_steps",
     "write trainer.checkpointer.keep = [{ every = N }]; trainer.checkpointer.save_interval saves "
     "by time"},
    {"save_strategy", "write trainer.checkpointer.keep = [{ every = N }]"},
    {"save_total_limit",
     "trainer.checkpointer.keep says which steps stay; of the others the latest does"},
    {"load_best_model_at_end", "write trainer.checkpointer.keep_best"},
    {"logging_steps", kAlways},
    {"resume_from_checkpoint", "remove it: a run resumes by itself"},
    // nanoGPT
    {"n_layer", "write model.num_layers"},
    {"n_head", "write model.num_heads"},
    {"n_embd", "write model.hidden_dim"},
    {"block_size", "write model.max_seq_len"},
    {"dropout", kDropout},
    {"bias", "write model.use_bias"},
    {"batch_size", kBatch},
    {"max_iters", kSteps},
    {"eval_interval", kEval},
    {"eval_iters", "write trainer.max_eval_batches"},
    {"log_interval", kAlways},
    {"lr_decay_iters",
     "write optimizer.decay, steps at the end of the run; without it all after the warm-up"},
    {"warmup_iters", kWarmup},
    {"min_lr", "write optimizer.min_lr_ratio, a share of optimizer.learning_rate"},
    {"decay_lr", "write optimizer.lr_schedule = \"constant\" for a rate that does not fall"},
    {"grad_clip", "write optimizer.max_grad_norm"},
    {"lr", "write optimizer.learning_rate"},
    {"out_dir", kFolder},
    {"init_from", "a run resumes by itself; start_from is what a new one begins with"},
    {"always_save_checkpoint", "trainer.checkpointer.save_interval and keep say when one is saved"},
    {"dataset", "write [data.components.NAME] with train = [\"file.txt\"]"},
    {"dtype", "write trainer.mp: \"f32\" or \"p=f32,c=bf16\""},
    {"compile", "remove it: a step is always compiled"},
};

}  // namespace

void foreign_keys(config::Fields& f) {
  for (const auto& [key, hint] : kForeign) f.foreign(key, hint);
}

}  // namespace levanter
