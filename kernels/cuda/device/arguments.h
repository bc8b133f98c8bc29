// What the program passes to kernels: read by both, so plain C++ without any other header.
#pragma once

namespace levanter::cuda {

/// An element's type, as kernels know it.
enum class Element : int { kF32, kBf16, kI32, kU32, kI8 };

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

/// Rows and columns of a tile of the kernel `dot`.
constexpr int kDotTile = 64;

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

/// Where an array over batch, key head, group, position and head_dim lies; strides in elements.
struct AttentionArray {
  void* data;
  long long batch, head, group, position, dim;
  bool in_chunks;  ///< rows of head_dim are whole pieces of 16 bytes at multiples of 16 bytes
};

/// Attention as AttentionShape of kernels/shared/attention_shape.h says it. Query t, at position
/// t + ahead, sees the keys s of its own segment with position - window < s <= position; through a
/// cache its position is given, and below 0 it sees none.
struct AttentionArguments {
  static constexpr int kPieceKeys = 512;
  AttentionArray q, k, v, o;        ///< of one element type, and so the gradients
  AttentionArray d_o, dq, dk, dv;   ///< of the backward pass
  AttentionArray lse, delta;        ///< f32, of the form of queries without head_dim
  AttentionArray entropy, largest;  ///< of the same form: what statistics find
  /// With several pieces, of kPieceKeys keys each, what the forward pass finds of one: f32, sums as
  /// o, and for each query the largest score and the sum of exponentials, in place of head_dim.
  AttentionArray piece_sums, piece_norms;
  long long piece_sums_stride, piece_norms_stride;  ///< from piece to piece
  const int* segments;                              ///< null for none
  long long segments_batch, segments_position;
  const int* positions;  ///< of queries; null for those of all keys
  long long positions_batch, positions_position;
  const unsigned* dropout_keys;  ///< null for none
  long long dropout_batch, dropout_word;
  int batch, heads, groups;  ///< heads of keys, and how many of queries each has
  int queries, keys, head_dim;
  int ahead, window;
  int pieces;
  float scale, soft_cap, keep;      ///< soft_cap: 0 for none
  float score_factor, kept_factor;  ///< scale, divided by soft_cap if any; 1 / keep
  Element element;
};

/// The kernels of attention: of the forward pass, of the gradients in keys and values, and in
/// queries.
enum class AttentionPass : int { kForward, kKeys, kQueries };

/// How such a kernel goes over the pairs of queries and keys: a block owns `own` rows, 16 to a
/// warp, and takes `stream` rows of the other side at a time. Warps of several `parts` own the same
/// rows, but parts of the columns of their results.
struct AttentionTiles {
  int own, stream, parts;
  int pitch;         ///< elements from row to row in shared memory: 16 bytes more than a row has
  int threads;       ///< of a block
  int blocks;        ///< that registers leave room for on a multiprocessor
  int shared_bytes;  ///< of a block; no card has less than 99 KiB
};
constexpr AttentionTiles attention_tiles(AttentionPass pass, int depth, int element_bytes) {
  const bool is_forward = pass == AttentionPass::kForward;
  const int row_bytes = depth * element_bytes;
  AttentionTiles tiles = {64, 16, 1, depth + 16 / element_bytes, 0, 0, 0};
  if (row_bytes <= 512) tiles.stream = is_forward ? 32 : 16;
  if (row_bytes <= 256) tiles.stream = is_forward ? 64 : 32;
  if (row_bytes <= 128) tiles.stream = 64;
  if (row_bytes > 512 && !is_forward) tiles.own = 32;
  if (depth > 128 && pass == AttentionPass::kKeys) tiles.parts = 2;
  tiles.threads = tiles.own * 2 * tiles.parts;
  if (is_forward) tiles.blocks = 2;
  if (is_forward && row_bytes <= 256) tiles.blocks = 3;
  if (is_forward && row_bytes <= 128) tiles.blocks = 4;
  if (pass == AttentionPass::kKeys) tiles.blocks = 2 / tiles.parts;
  if (pass == AttentionPass::kQueries) tiles.blocks = depth <= 128 ? 3 : 2;
  const int rows = (is_forward ? 1 : 2) * tiles.own + 2 * tiles.stream;
  tiles.shared_bytes = rows * tiles.pitch * element_bytes + (2 * tiles.own + 3 * tiles.stream) * 4;
  return tiles;
}

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

/// Rows and columns of a tile of the products of grouped_dot.
constexpr int kGroupTile = 128;

/// The rows of each group, in their order, each group's from a new tile on and -1 up to the end of
/// its last one. Rows of no group are listed as those of a last group, `groups`.
struct GroupList {
  static constexpr int kThreads = 512;
  const int* group;  ///< of each row; none is of one outside [0, groups)
  int* counts;       ///< [groups + 1], rows of each group
  int* first_tiles;  ///< [groups + 2], where its tiles begin; the last is how many there are
  int* tile_groups;  ///< [tiles], -1 for a tile that is of no use
  int* rows;         ///< [tiles, kGroupTile]
  int row_count, groups;
  int tiles;  ///< the most that there can be
};

/// y[r, :] = x[r / left_repeat, :] weight of r's group, in f32; or, of each group,
/// gradient = sum over its rows r of left[r / left_repeat, :]^T right[r / right_repeat, :].
struct GroupedArguments {
  static constexpr int kMostGroups = 384;  ///< all arguments of a kernel have 4 KiB
  GroupList list;
  const void *left, *right;  ///< rows without gaps; right: of gradients
  float* y;
  void* weights[kMostGroups];  ///< matrices without gaps, [depth, n] or turned; or their gradients
  int depth;                   ///< of a row of x
  int m, n;                    ///< of a row of left in gradients; of one of y or right
  int left_repeat, right_repeat;
  bool left_in_chunks, right_in_chunks;  ///< rows are whole pieces of 16 bytes
};

/// The cross entropy of the rows of `logits`, which begin `pitch` apart, as `dlogits` do. A row's
/// term is token_scale (token_loss + z_loss lse^2). With `scaled_only` the token loss is 0 where
/// the scale is.
struct XentArguments {
  /// Of a block: so many that the rows of all blocks at once stay in the card's cache.
  static constexpr int kMostThreads = 1024;
  const float* logits;
  void* dlogits;  ///< may be the logits
  const int* targets;
  const float* token_scale;
  float *token_loss, *terms;
  long long vocab, pitch;
  float z_loss, soft_cap;  ///< 0 for none
  bool gradients, scaled_only;
  Element element;  ///< of dlogits
};

/// Householder's reflections of matrices [columns, rows] without gaps, a block of `count` of them
/// from column `first` on.
struct QrArguments {
  static constexpr int kCount = 32;
  float* vectors;  ///< the matrices; column j becomes the vector of reflection j, from row j
  float *factors, *signs;  ///< [matrix, column]: the reflections', and those of R's diagonal
  float* to;               ///< columns that reflections are applied to: vectors, or those of Q
  long long rows, columns;
  long long first, count;
  long long begin;  ///< the first column that they are applied to
  bool reversed;    ///< the last of the block is applied first
};

/// Symmetric matrices [n, n] and their eigenvectors, one a row, without gaps.
struct EighArguments {
  float *a, *v;
  float* turns;  ///< [matrix, n + 1]: cosine and sine of each pair
  float *values, *vectors;
  long long n;
};

/// to[column] = sum over blocks of from[block, column]
struct SumBlocksArguments {
  const float* from;
  float* to;
  long long blocks, width;
};

/// to[i] += from[i]
struct AddArguments {
  float* to;
  const float* from;
  long long count;
};

}  // namespace levanter::cuda
