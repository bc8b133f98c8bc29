// Everything a graph can compute, in one list. Model code includes this and nothing else of ops/.
//
// Common rules. Operands are named arrays of one graph; axes match by name, never by position. An
// operand whose axes are a subset of another's is broadcast. Floating values have the graph's real
// type (f32 or f64) or, under mixed precision, bf16: then arithmetic inside an op is f32, and its
// result is rounded once. A result's axis order is its layout in memory. Every function throws an
// Error that names the operands, the module path and the source line when the operands do not fit.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "graph/graph.h"
#include "ops/elementwise/opcodes.h"

namespace levanter {

// ---- sources ------------------------------------------------------------------------------------

/// The `index`-th array that the caller of the compiled function supplies.
NamedArray input(Graph& graph, const Type& type, int64_t index,
                 std::source_location where = std::source_location::current());
/// A scalar known now, of type `dtype`.
NamedArray constant(Graph& graph, double value, DType dtype,
                    std::source_location where = std::source_location::current());
/// The numbers `values` along an axis of that name, in type `dtype`.
NamedArray literal(Graph& graph, AxisName axis, std::vector<double> values, DType dtype,
                   std::source_location where = std::source_location::current());
/// 0, 1, 2, ... along `axis`.
NamedArray iota(Graph& graph, Axis axis, DType dtype,
                std::source_location where = std::source_location::current());

// ---- elementwise: one node kind `map` with an opcode --------------------------------------------

/// The node of an opcode: ops/elementwise/rows.inc has the list, and what each computes.
NamedArray map(Map opcode, Operand a);
NamedArray map(Map opcode, Operand a, NamedArray b);
/// a != 0 ? b : c, elementwise.
NamedArray select(Operand a, NamedArray b, NamedArray c);

NamedArray operator+(Operand a, NamedArray b);
NamedArray operator-(Operand a, NamedArray b);
NamedArray operator*(Operand a, NamedArray b);
NamedArray operator/(Operand a, NamedArray b);
NamedArray operator-(Operand a);
NamedArray operator+(Operand a, double b);
NamedArray operator-(Operand a, double b);
NamedArray operator*(Operand a, double b);
NamedArray operator/(Operand a, double b);
NamedArray operator-(double a, Operand b);
NamedArray exp(Operand x);
NamedArray log(Operand x);
NamedArray sqrt(Operand x);
NamedArray rsqrt(Operand x);
NamedArray tanh(Operand x);
NamedArray sigmoid(Operand x);
/// max(x, 0)
NamedArray relu(Operand x);
/// x sigmoid(x)
NamedArray silu(Operand x);

/// The value converted: to an integer type towards zero, to a floating one by rounding to nearest.
NamedArray cast(Operand x, DType dtype);
/// A parameter as products want it: rounded to the graph's compute type, or `weight` itself where
/// it has that type. The gradient passes through unrounded, in the parameter's own type.
NamedArray pack(Operand weight);

// ---- views: other names, strides and offsets over the same memory -------------------------------

/// x seen over `axes`, which contain x's axes; an axis that x lacks repeats it.
NamedArray broadcast(Operand x, const Axes& axes);
/// The same axes in another order.
NamedArray transpose(Operand x, const Axes& order);
/// The axis `from` under the name `to`.
NamedArray rename(Operand x, AxisName from, AxisName to);
/// The axis `name` cut into `pieces`, outermost first; their sizes multiply to its size.
NamedArray split_axis(Operand x, AxisName name, const Axes& pieces);
/// x cut along `axis` into consecutive parts of the given sizes (each at least 1, adding up to the
/// axis): each part keeps the axis' name. The gradient is `concat`.
std::vector<NamedArray> partition(Operand x, AxisName axis, std::span<const int64_t> sizes);
/// x, and a constant where a gradient is taken.
NamedArray stop_gradient(Operand x);

// ---- structure ----------------------------------------------------------------------------------

/// The same values, row-major without gaps.
NamedArray copy(Operand x);
/// Arrays of which each rank has some, whole on every rank, in their order. No gradient: the pass
/// `gather_parameters` makes it after the gradients are.
std::vector<NamedArray> all_gather(std::span<const NamedArray> held,
                                   std::source_location where = std::source_location::current());
/// Neighbouring axes `pieces`, outermost first, as one axis `name`.
NamedArray merge_axes(Operand x, const Axes& pieces, AxisName name);

/// The parts one after the other along `axis`; other axes are the same. The gradient is
/// `partition`.
NamedArray concat(std::span<const NamedArray> parts, AxisName axis,
                  std::source_location where = std::source_location::current());
/// x[..., axis = index[...], ...]: the axes of `index` take the place of `axis`; axes that x and
/// `index` share are matched one to one. `index` is i32; an index outside [0, size) gives 0.
NamedArray gather(Operand x, AxisName axis, NamedArray index);
/// Zeros of `axes`, plus every update at its index along `axis` (the gradient of gather). Updates
/// that meet in one place are added in the order of their position. Updates are not bf16.
NamedArray scatter_add(Operand updates, const Axes& axes, AxisName axis, NamedArray index);
/// The indices i32 of the `choice.size` largest values of x along `axis`, in falling order, along
/// the last axis `choice`. Equal values come in the order of their indices; NaN counts as minus
/// infinity. No gradient.
NamedArray top_k(Operand x, AxisName axis, Axis choice);

/// x with `updates` at their index along `axis`: the axes of `index` take the place of `axis` in
/// the updates. Of updates that meet the last stays; one whose index is outside [0, size) is
/// dropped. No gradient.
NamedArray scatter(Operand x, NamedArray updates, AxisName axis, NamedArray index);

// ---- reductions and products --------------------------------------------------------------------

enum class Reduce : int32_t { kSum, kMax, kMin };
/// Reduced over the named axes, in an order that depends on the shape only. Of bf16 in f32.
NamedArray reduce(Reduce kind, Operand x, const Axes& over);
NamedArray sum(Operand x, const Axes& over);
/// The arithmetic mean over the named axes.
NamedArray mean(Operand x, const Axes& over);
/// The sums of squares over all axes but `kept`, [kept]. Each has the bits that its own elements
/// alone say where `kept` is the outermost axis, which may therefore be cut over ranks.
NamedArray sum_squares(Operand x, AxisName kept);

/// The product of a and b summed over the axes that they share and `out` lacks. Axes that both
/// have and `out` has are batch axes. `out` orders the result. Factors of bf16 give f32.
NamedArray dot(Operand a, NamedArray b, const Axes& out);
/// acc + dot(a, b, acc's axes): the product is complete before it is added once. acc is f32 where
/// the factors are bf16.
NamedArray dot_add(Operand acc, NamedArray a, NamedArray b);
/// dot(a, b, out) + bias in the type of the factors, rounded once. The bias has the axes that b
/// brings and a lacks; there may be none. Has no gradient: the pass `round_products` makes it.
NamedArray rounded_dot(Operand a, NamedArray b, const Axes& out, NamedArray bias = {});

/// x times a matrix that is held in int8 with a scale for each of its rows or columns:
///   y[rows, out] = sum over in of x[rows, in] w[out, in],
///   w[i, j] = dequantize: values[i, j] scale[i], or scale[j], rounded to x's type
/// x       floating [rows..., in...]: the axes that it shares with the matrix are `in`
/// values  i8, in and out one after the other in either order
/// scale   f32 at least, over all axes of one of the two: no gradient in it nor in values
/// returns [rows..., out...]; bf16 gives f32
NamedArray quantized_dot(Operand x, NamedArray values, NamedArray scale);
/// values times scale, rounded once to the scale's type and then to `dtype`.
NamedArray dequantize(NamedArray values, NamedArray scale, DType dtype);

/// Each row multiplied by the weight of its group, the experts of a mixture:
///   y[r, out] = sum over in of x[r, in] weights[group[r]][in, out]
/// x        [rows..., in...]: the axes that it shares with the weights are `in`
/// group    i32 [rows...], which may have axes that x lacks: x is then repeated along them
/// weights  all of one type and axes, in and out in any order; nothing is computed for those that
///          no row is of
/// returns [rows of group..., out...]; factors of bf16 give f32
NamedArray grouped_dot(Operand x, NamedArray group, std::span<const NamedArray> weights);

// ---- factors of matrices ------------------------------------------------------------------------

/// The orthonormal factor of x = Q R, R upper triangular with no element below 0 on its diagonal,
/// by Householder's reflections (Householder 1958, doi:10.1145/320941.320947).
/// x  f32 or f64 [stack..., row, column] in any order, each matrix with row >= column
/// returns axes and type of x, Q^T Q = I to rounding whatever the rank of x: a column that depends
/// on those before it gives one that is orthogonal to them. No gradient.
NamedArray qr(Operand x, AxisName row, AxisName column);

/// Eigenvalues and eigenvectors of symmetric matrices, x = V diag(values) V^T.
/// x  f32 or f64 [stack..., row, column] in any order, row = column; only elements with
///    row >= column count
/// values   [stack..., column], falling
/// vectors  x's axes and type: the eigenvector of values[column] along `row`, of norm 1, its first
///          element of the largest magnitude above 0. Of equal values, any basis. No gradient.
/// A matrix with an element that is not finite gives NaN.
struct Eigh {
  NamedArray values, vectors;
};
Eigh eigh(Operand x, AxisName row, AxisName column);

// ---- random numbers (Threefry-2x32, JAX's partitionable indexing) -------------------------------

/// The axis of size 2 that holds the two words of a key.
Axis key_word();
/// Each key of `keys` (u32 [..., key_word]) folded with the constant `data`.
NamedArray fold_in(Operand keys, uint32_t data);
/// Bits over `axes`, u32. The leading axes are those of `keys` without key_word; under each key
/// the counter is the row-major index over the remaining axes.
NamedArray random_bits(Operand keys, const Axes& axes);
/// Bits as a float in [0, 1) with 23 random bits, exactly as JAX makes it.
NamedArray uniform(Operand bits, DType dtype);

// ---- composites: each has a decomposition, its own gradient, and fused kernels ------------------

/// exp(x - max) / sum of it, over `axis`.
NamedArray softmax(Operand x, AxisName axis);

/// Layer norm (Ba, Kiros & Hinton 2016, arXiv:1607.06450) over the axes of `weight`.
///   y = (x - mean) / sqrt(mean of (x - mean)^2 + eps) * weight + bias
/// x       [..., weight's axes]
/// weight  f32 where x is bf16
/// bias    weight's axes and type, or an empty handle for none
/// eps     > 0, no unit
/// returns axes and type of x; the mean is always f32 at least
NamedArray layer_norm(Operand x, NamedArray weight, NamedArray bias, double eps);
/// Root-mean-square norm (Zhang & Sennrich 2019, arXiv:1910.07467) over the axes of `weight`.
///   y = x / sqrt(mean of x^2 + eps) * weight
/// Operands, types and errors are layer_norm's.
NamedArray rms_norm(Operand x, NamedArray weight, double eps);

enum class Gelu : int32_t { kTanh, kErf };
/// Gaussian error linear unit (Hendrycks & Gimpel 2016, arXiv:1606.08415).
///   kTanh  x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))     GPT-2's, "gelu_new"
///   kErf   x/2 (1 + erf(x / sqrt 2))
NamedArray gelu(Operand x, Gelu kind);

/// Zeroes each element with probability `rate` and divides the rest by 1 - rate.
/// x     [batch..., ...]
/// keys  u32 [batch..., key_word], one key a row; the rows' other axes index the bits
/// rate  in [0, 1); 0 returns x itself
NamedArray dropout(Operand x, NamedArray keys, double rate);

/// Scaled dot-product attention, never materialised as a whole by the fused kernels.
///   o = sum over key_position of dropout(softmax(scale q.k + mask)) v
/// q     [batch, position, kv_head, (q_group,) head_dim]; q_group: queries that share a key head
/// k, v  [batch, key_position, kv_head, head_dim]
struct AttentionOptions {
  double scale = 1;
  bool causal = true;      ///< a query sees keys up to its own position
  int64_t window = 0;      ///< with causal: a query sees this many keys, its own the last; 0 all
  double soft_cap = 0;     ///< scores become soft_cap tanh(score / soft_cap) before masks; 0 none
  NamedArray segment_ids;  ///< i32 [batch, position]; queries see keys of their own segment only
  double dropout_rate = 0;
  NamedArray dropout_keys;  ///< u32 [batch, key_word]; needed when dropout_rate > 0
  /// i32 [batch, position]: with causal, query t stands at key positions[t] and not at key t, as
  /// where a text is decoded a piece at a time; the result of one below 0 means nothing. Neither
  /// segments nor dropout then.
  NamedArray positions = {};
};
/// returns [batch, position, kv_head, (q_group,) head_dim] in q's order
NamedArray attention(Operand q, NamedArray k, NamedArray v, const AttentionOptions& options);

/// What the probabilities p of attention are like before dropout, query by query; no gradient.
///   entropy = -sum over key_position of p log p, from 0 to the log of the keys that are seen, nats
///   largest = the largest score of a key that is seen, after scale and cap
/// q, k as attention's; `options` too, without positions.
/// returns both over q's axes without head_dim, position last; f32 where q is bf16
struct AttentionStatistics {
  NamedArray entropy, largest;
};
AttentionStatistics attention_statistics(Operand q, NamedArray k, AttentionOptions options);

/// The cross entropy of a linear layer, in chunks of tokens, without the full logits.
///   token_loss = logsumexp over vocab of h.weight - (h.weight)[target]
///   loss       = sum of token_scale * (token_loss + z_loss * logsumexp^2)
/// token_loss stays the plain cross entropy whatever z_loss is.
/// h            [batch, position, embed]
/// weight       [vocab, embed] (the vocabulary first, as Hugging Face stores a head)
/// targets      i32 [batch, position], each in [0, vocab)
/// token_scale  [batch, position]: loss weight over the number of loss tokens of the global batch
/// h and weight may be bf16; token_scale, the losses and the gradient of weight are then f32
/// Where a loss is made of the token losses, their gradient is that of a sum in which each counts
/// as much as its cotangent, and costs what that of `loss` does.
struct LinearXentOptions {
  double z_loss = 0;    ///< weight of the squared logsumexp in the loss
  double soft_cap = 0;  ///< logits become soft_cap tanh(logit / soft_cap); 0 none
  /// token_loss is 0 where token_scale is 0, and has no gradient there, nor has the scale: such
  /// tokens, prompts and padding among them, need not be computed. Whether something that is not
  /// finite in them reaches the loss is left open.
  bool scaled_only = false;
};
struct LinearXent {
  NamedArray loss;        ///< scalar; differentiable in h, weight and token_scale
  NamedArray token_loss;  ///< [batch, position]; differentiable in h and weight
};
LinearXent linear_xent(Operand h, NamedArray weight, NamedArray targets, NamedArray token_scale,
                       const LinearXentOptions& options = {});

/// One step of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) for one parameter.
///   g' = scale g;  m' = beta1 m + (1-beta1) g';  v' = beta2 v + (1-beta2) g'^2
///   p' = p - lr ((m' / correction1) / (sqrt(v' / correction2) + eps) + weight_decay p)
/// and (p, m, v) unchanged where `proceed` is 0.
struct AdamwScalars {
  NamedArray lr;           ///< learning rate of this step
  NamedArray scale;        ///< clip factor of the gradient, in (0, 1]
  NamedArray correction1;  ///< 1 - beta1^t, t from 1
  NamedArray correction2;  ///< 1 - beta2^t
  NamedArray proceed;      ///< 1 to update, 0 to leave every bit of the state
};
struct AdamwOptions {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0;
};
struct AdamwState {
  NamedArray param, m, v;
};
AdamwState adamw(Operand param, NamedArray grad, NamedArray m, NamedArray v,
                 const AdamwScalars& scalars, const AdamwOptions& options);

}  // namespace levanter
