// A mixture of experts: each token goes through the few experts that a router chooses for it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/decoder_config.h"
#include "models/model.h"
#include "nn/layers.h"

namespace levanter::models {

/// Dropless top-k routing (Jiang et al. 2024, arXiv:2401.04088) of gated MLPs.
///   p = softmax over experts of router x, in f32;  c = the k experts of largest p
///   y = sum over c of w_c down_c(activation(gate_c(x)) up_c(x)),  w = p, or p over its sum over c
struct Experts {
  using Activation = NamedArray (*)(NamedArray);

  Experts(const nn::Scope& scope, const DecoderConfig& config, Activation activation);
  /// y like x. Where the batch wants measures, appends, each a mean over the tokens:
  ///   train/load_balancing_loss  E sum over experts of (share of the choices) (mean p); at best 1
  ///   train/router_z_loss        logsumexp(router x)^2 (Zoph et al. 2022, arXiv:2202.08906)
  ///   moe/LAYER/routing_entropy  of p
  ///   moe/LAYER/expert{}_load    each expert's share of the choices
  NamedArray operator()(NamedArray x, const LmBatch& batch, const std::string& layer) const;

  nn::Scope scope;
  const DecoderConfig& config;
  Activation activation;
  Axis expert;
  nn::Linear router;
  /// One matrix for each expert.
  struct Matrices {
    std::vector<nn::Weight> weights;
    std::shared_ptr<const nn::Adaptation> adaptation;  ///< null for none
  };
  Matrices gate, up, down;

 private:
  NamedArray multiply(NamedArray rows, NamedArray chosen, const Matrices& matrices,
                      NamedArray dropout_keys) const;
  void measure(NamedArray logits, NamedArray p, NamedArray chosen, std::vector<Measure>& measures,
               const std::string& layer) const;
};

}  // namespace levanter::models
