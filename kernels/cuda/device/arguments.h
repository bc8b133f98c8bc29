// What the program passes to kernels: read by both, so plain C++ without any other header.
#pragma once

namespace levanter::cuda {

/// An element's type, as kernels know it.
enum class Element : int { kF32, kBf16, kI32, kU32 };

/// Threads of every block.
constexpr int kThreads = 256;

/// A space of axes, the outermost first, and the strides in elements of up to four operands along
/// them. Neighbouring axes that all operands walk alike are one; there is at least one axis.
struct Space {
  static constexpr int kAxes = 8, kOperands = 4;
  long long count;  ///< of indices: the product of the sizes
  long long sizes[kAxes];
  long long strides[kOperands][kAxes];
  /// x / sizes[i] = the upper half of x factors[i], shifted right, for 0 <= x < 2^63.
  unsigned long long factors[kAxes];
  int shifts[kAxes];
  int rank;
};

/// out[i] = op(in[0][i], in[1][i], in[2][i]); operands of the space: the inputs, then the output.
struct MapArguments {
  Space space;
  const void* in[3];
  void* out;
  int inputs;
  Element element;
};

/// to[i] = from[i], converted; operands: from, to.
struct CastArguments {
  Space space;
  const void* from;
  void* to;
  Element from_element, to_element;
};

/// to[i] = from[i], elements of word_bytes; operands: from, to.
struct CopyArguments {
  Space space;
  const void* from;
  void* to;
  int word_bytes;
};

/// Reduced over `inner` at each index of `outer`, in pieces of piece_length: with one piece the
/// result goes to `to`, with more piece p of output o to partial[o * pieces + p].
struct ReduceArguments {
  Space outer;  ///< operands: from, to
  Space inner;  ///< operands: from
  const void* from;
  void *to, *partial;
  long long pieces, piece_length;
  Element element;  ///< of `from`; sums of bf16 are f32
  int kind;         ///< 0 sum, 1 max, 2 min
};

/// c[b, m, n] = sum over k of a[b, m, k] b[b, k, n], or is what it was plus that, or is that plus
/// bias[n]; in f32, in the order of k, rounded at the end.
struct DotArguments {
  Space batch;               ///< operands: a, b, c
  Space m;                   ///< operands: a, c
  Space n;                   ///< operands: b, c, bias
  Space k;                   ///< operands: a, b
  const void *a, *b, *bias;  ///< bias: null for none
  void* c;
  Element element;  ///< of a, b and bias
  Element result;   ///< of c
  bool adds;        ///< the sum to what c is
};

/// A factor for the check of a product: 0 before column `first`, 1 from there on.
struct OnesArguments {
  Space rows;  ///< operands: to
  void* to;
  long long columns, stride, first;
  Element element;
};

/// wrong = 1 where an element of a product is not `expected`.
struct ExpectArguments {
  Space rows;  ///< operands: from
  const void* from;
  int* wrong;
  long long columns;
  float expected;
  Element element;
};

/// to[i] = from[i with index[i] along an axis], 0 where the index is outside [0, size).
struct GatherArguments {
  Space space;  ///< operands: from at the axis' first element, index, to
  const void* from;
  const int* index;
  void* to;
  long long size, stride;  ///< of from's axis
  int word_bytes;
};

/// Updates to places along an axis of `to`. An update has an index over `kept`, axes that the index
/// and `to` both have, one over `wide`, which the index lacks, and one over `positions`, which `to`
/// lacks.
struct ScatterArguments {
  Space kept, positions, wide;  ///< operands: from, index, to
  const void* from;
  const int* index;
  void* to;
  long long size, stride;  ///< of to's axis
  int word_bytes;          ///< of scatter
  Element element;         ///< of scatter_add
};

/// The indices of the `choices` largest values of each row.
struct TopKArguments {
  Space rows;  ///< operands: from, to
  const void* from;
  int* to;
  long long size, stride;  ///< of a row
  long long choices, to_stride;
  Element element;
};

/// Keys folded with `data`, or bits under each key: 32 for every index of `inside`.
struct RandomArguments {
  Space rows;    ///< operands: keys, to
  Space inside;  ///< of random_bits; operands: to
  const unsigned* keys;
  unsigned* to;
  long long key_stride, to_stride;  ///< between a key's words
  unsigned data;
};

/// 0, 1, 2, ...
struct IotaArguments {
  void* to;
  long long count, stride;
  Element element;
};

/// `count` words from index `first` on.
struct LiteralArguments {
  static constexpr int kWords = 512;
  void* to;
  long long first, count, stride;
  int word_bytes;
  unsigned words[kWords];
};

/// Of a fused region: its operands and results, and room for the sums of its blocks.
struct RegionArguments {
  static constexpr int kInputs = 16, kOutputs = 8;
  const void* in[kInputs];
  void* out[kOutputs];
  float* sums;  ///< [sum, block, column]
};

/// The cross entropy of the rows of `logits`, which begin `pitch` apart, as `dlogits` do. A row's
/// term is token_scale (token_loss + z_loss lse^2).
struct XentArguments {
  const float* logits;
  void* dlogits;  ///< may be the logits
  const int* targets;
  const float* token_scale;
  float *token_loss, *terms;
  long long vocab, pitch;
  float z_loss, soft_cap;  ///< 0 for none
  bool gradients;
  Element element;  ///< of dlogits
};

/// to[i] += from[i]
struct AddArguments {
  float* to;
  const float* from;
  long long count;
};

}  // namespace levanter::cuda
