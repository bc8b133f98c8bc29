// Prints a region's program as a kernel.
#include "kernels/cuda/region_text.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/hash.h"
#include "base/integers.h"
#include "base/strings.h"
#include "kernels/cuda/device/arguments.h"

namespace levanter::cuda {

namespace {

using kernels::Dims;
using kernels::RegionProgram;
using Kind = RegionProgram::Instruction::Kind;

constexpr int kWarp = 32;
/// Columns that a thread holds of a row at most, and rows that a block sums at least.
constexpr int64_t kMostHeld = 32, kLeastRows = 64;
constexpr int64_t kMostSumBlocks = 256;
/// Every eighth row of a block is summed, then these sums are, whatever takes the rows: so a sum
/// has the same bits in every region.
constexpr int64_t kParts = 8;
static_assert(kParts == kThreads / kWarp);

std::string float_text(float value) {
  return cat("float_of(0x", hex64(std::bit_cast<uint32_t>(value)).substr(8), "u)");
}

/// The offset of element `index`, a word of the text.
std::string offset_text(const Dims& dims, const std::string& index) {
  if (dims.linear()) return dims.step() == 0 ? "0" : cat(index, " * ", dims.step());
  std::string text;
  int64_t inside = 1;
  for (size_t i = dims.count; i-- > 0; inside *= dims.dims[i].size) {
    std::string at = inside == 1 ? index : cat(index, " / ", inside);
    if (i > 0) at = cat(at, " % ", dims.dims[i].size);
    text += cat(text.empty() ? "" : " + ", "(", at, ") * ", dims.dims[i].stride);
  }
  return text;
}

bool divides(const Dims& dims, int64_t number) {
  return std::all_of(dims.dims.begin(), dims.dims.begin() + static_cast<long>(dims.count),
                     [&](const Dims::Dim& dim) { return dim.stride % number == 0; });
}

const char* type_text(DType dtype) { return dtype == DType::bf16 ? "uint16_t" : "float"; }

class Printer {
 public:
  explicit Printer(const RegionProgram& program) : p_(program) {
    for (const RegionProgram::Output& output : p_.outputs)
      if (output.sum >= 0) sums_.push_back(output.sum);
    by_rows_ = p_.takes_rows || !sums_.empty();
    choose_span();
    if (by_rows_) choose_group();
    place_steps();
  }

  int64_t sum_blocks() const { return sums_.empty() ? 0 : ceil_div(p_.rows, block_rows_); }
  int64_t items() const { return by_rows_ ? 0 : p_.rows * (p_.width / span_); }
  Grid grid() const;
  std::string body();

 private:
  void choose_span();
  void choose_group();
  void place_steps();
  void note_use(int slot, int pass);
  int64_t held() const { return span_ * chunks_; }
  bool is_operand(int slot) const { return slots(slot).input >= 0; }
  const RegionProgram::Slot& slots(int slot) const { return p_.slots[static_cast<size_t>(slot)]; }

  void print_pointers();
  void print_pass(int pass);
  void print_loads(int pass);
  void print_step(size_t step);
  void print_stores(int pass);
  void print_reductions(int pass);
  void print_variance(const RegionProgram::Instruction& step, size_t index);
  void print_row_outputs(const RegionProgram::Instruction& step, size_t index);
  void print_part();
  void print_sums();
  std::string value(int slot) const;
  std::string row_value(int slot) const;
  std::string map_text(const RegionProgram::Instruction& step) const;
  std::string drop_text(const RegionProgram::Instruction& step, const std::string& index) const;
  void print_load(size_t operand);
  std::string place(const RegionProgram::Operand& operand) const;
  /// What a sum over a row is multiplied by for the mean.
  std::string inverse_width() const {
    return float_text(static_cast<float>(1.0 / static_cast<double>(p_.width)));
  }
  bool aligned(const RegionProgram::Operand& operand) const;
  int pass_of_output(const RegionProgram::Output& output) const;
  template <class... Parts>
  void line(const Parts&... parts) {
    text_ += cat(std::string(static_cast<size_t>(2 * depth_), ' '), parts..., "\n");
  }
  void open(const std::string& head) {
    line(head, " {");
    ++depth_;
  }
  void close() {
    --depth_;
    line("}");
  }

  const RegionProgram& p_;
  std::vector<int> sums_;   ///< that a result is
  bool by_rows_ = false;    ///< else column by column, whatever the row
  int64_t span_ = 1;        ///< neighbouring columns of a thread
  int64_t chunks_ = 1;      ///< such spans of a thread in a row
  int64_t group_ = kWarp;   ///< threads of a row
  int64_t block_rows_ = 0;  ///< of which a block makes a sum
  int64_t tile_ = 0;        ///< columns of a block
  int passes_ = 1;          ///< over the columns that a thread holds; between them rows are summed
  std::vector<int> pass_of_;      ///< by step: where its value is made
  std::vector<int> made_, last_;  ///< by slot: passes
  std::string text_;
  int depth_ = 1;
};

/// As many neighbouring columns as divide the rows: a function of their width alone, so that a norm
/// has the same bits in every region.
void Printer::choose_span() {
  for (const int64_t span : {8, 4, 2})
    if (span_ == 1 && p_.width % span == 0) span_ = span;
}

void Printer::choose_group() {
  if (!p_.takes_rows) {
    tile_ = kWarp * span_;
  } else {
    if (p_.width > kWarp * kMostHeld) group_ = kThreads;
    chunks_ = ceil_div(p_.width, group_ * span_);
    tile_ = group_ * held();
  }
  block_rows_ = std::max(kLeastRows, ceil_div(p_.rows, kMostSumBlocks));
}

void Printer::note_use(int slot, int pass) {
  if (slot >= 0)
    last_[static_cast<size_t>(slot)] = std::max(last_[static_cast<size_t>(slot)], pass);
}

/// A step runs in the first pass that has all it reads; a norm's value comes a pass later.
void Printer::place_steps() {
  made_.assign(p_.slots.size(), 0);
  last_.assign(p_.slots.size(), 0);
  for (const RegionProgram::Instruction& step : p_.steps) {
    int pass = 0;
    for (const int slot : step.in)
      if (slot >= 0) pass = std::max(pass, made_[static_cast<size_t>(slot)]);
    const bool norm = step.kind == Kind::kNorm || step.kind == Kind::kNormGrad;
    pass_of_.push_back(pass);
    for (const int slot : step.in) note_use(slot, norm ? pass + 1 : pass);
    if (step.out >= 0) made_[static_cast<size_t>(step.out)] = norm ? pass + 1 : pass;
    passes_ = std::max(passes_, norm ? pass + 2 : pass + 1);
  }
  for (const RegionProgram::Output& output : p_.outputs)
    if (output.slot >= 0) note_use(output.slot, pass_of_output(output));
}

/// Results are stored as soon as no operand over the whole space is read any more, over which one
/// may lie.
int Printer::pass_of_output(const RegionProgram::Output& output) const {
  int pass = made_[static_cast<size_t>(output.slot)];
  for (size_t s = 0; s < p_.slots.size(); ++s)
    if (p_.slots[s].input >= 0 &&
        p_.input_views[static_cast<size_t>(p_.slots[s].input)].axes == p_.space)
      pass = std::max(pass, last_[s]);
  return pass;
}

/// Whether spans of the operand lie at multiples of 16 bytes.
bool Printer::aligned(const RegionProgram::Operand& operand) const {
  const int64_t elements = 16 / size_of(operand.dtype);
  return operand.column_step == 1 && span_ % elements == 0 && divides(operand.rows, elements) &&
         operand.offset % elements == 0;
}

std::string Printer::value(int slot) const {
  const RegionProgram::Slot& s = slots(slot);
  if (s.constant) return float_text(s.value);
  if (s.input >= 0) {
    const RegionProgram::Operand& o = p_.operands[static_cast<size_t>(s.input)];
    return cat("x", s.input, o.column_step == 0 ? "" : "[i]");
  }
  const auto at = static_cast<size_t>(slot);
  return made_[at] == last_[at] ? cat("v", slot) : cat("held", slot, "[e]");
}

/// One f32 value a row.
std::string Printer::row_value(int slot) const {
  const int input = slots(slot).input;
  return cat("static_cast<const float*>(a.in[", input, "])[",
             offset_text(p_.operands[static_cast<size_t>(input)].rows, "row"), "]");
}

/// Names for the pointers at the row's beginning.
void Printer::print_pointers() {
  for (size_t i = 0; i < p_.operands.size(); ++i) {
    const bool loaded = std::any_of(p_.slots.begin(), p_.slots.end(), [&](const auto& slot) {
      return slot.input == static_cast<int>(i) && slot.loaded;
    });
    const RegionProgram::Operand& o = p_.operands[i];
    if (loaded)
      line("const auto* const in", i, " = static_cast<const ", type_text(o.dtype), "*>(a.in[", i,
           "]) + ", offset_text(o.rows, "row"), ";");
  }
  for (size_t o = 0; o < p_.outputs.size(); ++o)
    if (p_.outputs[o].slot >= 0)
      line("auto* const out", o, " = static_cast<", type_text(p_.outputs[o].operand.dtype),
           "*>(a.out[", o, "]) + ", offset_text(p_.outputs[o].operand.rows, "row"), ";");
}

/// What the pass reads of the operands.
void Printer::print_loads(int pass) {
  std::vector<bool> read(p_.operands.size());
  const auto reads = [&](int slot) {
    if (slot >= 0 && is_operand(slot) && slots(slot).loaded)
      read[static_cast<size_t>(slots(slot).input)] = true;
  };
  for (size_t s = 0; s < p_.steps.size(); ++s) {
    const RegionProgram::Instruction& step = p_.steps[s];
    const bool norm = step.kind == Kind::kNorm || step.kind == Kind::kNormGrad;
    if (pass_of_[s] == pass || (norm && pass_of_[s] + 1 == pass))
      for (const int slot : step.in) reads(slot);
  }
  for (const RegionProgram::Output& output : p_.outputs)
    if (output.slot >= 0 && pass_of_output(output) == pass) reads(output.slot);
  for (size_t i = 0; i < read.size(); ++i) {
    if (read[i]) print_load(i);
  }
}

/// A thread's span of an operand, or its one value of the row.
void Printer::print_load(size_t i) {
  const RegionProgram::Operand& o = p_.operands[i];
  if (o.column_step == 0) {
    line("const float x", i, " = widened(*in", i, ");");
    return;
  }
  line("float x", i, "[", span_, "];");
  if (aligned(o))
    line("load_span<", span_, ">(x", i, ", in", i, " + column);");
  else
    line("LEV_UNROLLED for (int i = 0; i < ", span_, "; ++i) x", i, "[i] = widened(in", i, "[",
         place(o), "]);");
}

/// Where element i of a thread's span is in its row.
std::string Printer::place(const RegionProgram::Operand& operand) const {
  if (operand.column_step == 1) return "column + i";
  return offset_text(operand.columns, "int64_t(column + i)");
}

std::string Printer::map_text(const RegionProgram::Instruction& step) const {
  std::string in[3] = {"0.0f", "0.0f", "0.0f"};
  for (size_t i = 0; i < step.count; ++i) in[i] = value(step.in[i]);
  return cat("value_of_", name_of(step.map), "(", in[0], ", ", in[1], ", ", in[2], ")");
}

/// Each of the leading rows of the space has a key; the index within it counts.
std::string Printer::drop_text(const RegionProgram::Instruction& step,
                               const std::string& index) const {
  const int input = slots(step.in[1]).input;
  const View& view = p_.input_views[static_cast<size_t>(input)];
  const size_t leading = view.axes.size() - 1;  // the last are the key's words
  const Dims keys(view, std::span(view.axes.begin(), leading));
  const int64_t under_key = p_.rows * p_.width / (view.axes.elements() / 2);
  return cat("drop(", value(step.in[0]), ", ", float_text(step.real), ", ",
             float_text(1 / step.real), ", static_cast<const uint32_t*>(a.in[", input, "]) + ",
             offset_text(keys, cat("(", index, " / ", under_key, ")")), ", ", view.strides[leading],
             ", ", index, " % ", under_key, ")");
}

void Printer::print_step(size_t s) {
  const RegionProgram::Instruction& step = p_.steps[s];
  const auto in = [&](size_t i) { return value(step.in[i]); };
  std::string made;
  switch (step.kind) {
    case Kind::kMap:
      made = map_text(step);
      break;
    case Kind::kRound:
      made = cat("round_to_bf16(", in(0), ")");
      break;
    case Kind::kGelu:
      made = cat(step.gelu == Gelu::kErf ? "gelu_erf(" : "gelu_tanh(", in(0), ")");
      break;
    case Kind::kGeluGrad:
      made = cat(step.gelu == Gelu::kErf ? "gelu_erf_grad(" : "gelu_tanh_grad(", in(0), ", ", in(1),
                 ")");
      break;
    case Kind::kDropout:
      line("const int64_t index", s, " = int64_t(row) * ", p_.width, " + column + i;");
      made = drop_text(step, cat("index", s));
      break;
    case Kind::kSum:
      return line("sum", step.extra[0], "[e] += ", in(0), ";");
    case Kind::kNorm:
      made = cat("(", in(0), " - mean", s, ") * rstd", s, " * ", in(1));
      if (step.count > 2) made += cat(" + ", in(2));
      break;
    case Kind::kNormGrad:
      made = cat("rstd", s, " * (", in(4), " * ", in(1), " - mean_g", s, " - (", in(0), " - mean",
                 s, ") * rstd", s, " * mean_gx", s, ")");
      break;
  }
  if (step.rounds) made = cat("round_to_bf16(", made, ")");
  const auto out = static_cast<size_t>(step.out);
  line(made_[out] == last_[out] ? cat("const float v", step.out) : cat("held", step.out, "[e]"),
       " = ", made, ";");
}

void Printer::print_stores(int pass) {
  for (size_t o = 0; o < p_.outputs.size(); ++o) {
    const RegionProgram::Output& output = p_.outputs[o];
    if (output.slot < 0 || pass_of_output(output) != pass) continue;
    if (aligned(output.operand))
      line("store_span<", span_, ">(out", o, " + column, y", o, ");");
    else
      line("LEV_UNROLLED for (int i = 0; i < ", span_, "; ++i) store_one(&out", o, "[",
           place(output.operand), "], y", o, "[i]);");
  }
}

/// One pass over the columns that the thread holds.
void Printer::print_pass(int pass) {
  if (by_rows_) {
    open(cat("LEV_UNROLLED for (int j = 0; j < ", chunks_, "; ++j)"));
    line("const int column = ", p_.takes_rows ? "" : cat("int(blockIdx.x) * ", tile_, " + "),
         "(j * ", group_, " + lane) * ", span_, ";");
    if (p_.width % tile_ != 0) line("if (column >= ", p_.width, ") continue;");
  }
  print_loads(pass);
  for (size_t o = 0; o < p_.outputs.size(); ++o)
    if (p_.outputs[o].slot >= 0 && pass_of_output(p_.outputs[o]) == pass)
      line("float y", o, "[", span_, "];");
  open(cat("LEV_UNROLLED for (int i = 0; i < ", span_, "; ++i)"));
  if (by_rows_) line("const int e = j * ", span_, " + i;");
  if (by_rows_) line("(void)e;");
  for (size_t s = 0; s < p_.steps.size(); ++s) {
    const RegionProgram::Instruction& step = p_.steps[s];
    const bool norm = step.kind == Kind::kNorm || step.kind == Kind::kNormGrad;
    if (norm && pass_of_[s] == pass) {
      if (step.kind == Kind::kNorm) {
        const std::string x = value(step.in[0]);
        line("total", s, " += ", step.centred ? x : cat(x, " * ", x), ";");
      } else {
        line("const float g", s, " = ", value(step.in[4]), " * ", value(step.in[1]), ";");
        line("const float normal", s, " = (", value(step.in[0]), " - mean", s, ") * rstd", s, ";");
        line("total_g", s, " += g", s, ";");
        line("total_gx", s, " += g", s, " * normal", s, ";");
        const auto is_read = [&](int sum) {
          return std::find(sums_.begin(), sums_.end(), sum) != sums_.end();
        };
        if (is_read(step.extra[0]))
          line("sum", step.extra[0], "[e] += ", value(step.in[4]), " * normal", s, ";");
        if (is_read(step.extra[1])) line("sum", step.extra[1], "[e] += ", value(step.in[4]), ";");
      }
    }
    if ((norm ? pass_of_[s] + 1 : pass_of_[s]) == pass) print_step(s);
  }
  for (size_t o = 0; o < p_.outputs.size(); ++o)
    if (p_.outputs[o].slot >= 0 && pass_of_output(p_.outputs[o]) == pass)
      line("y", o, "[i] = ", value(p_.outputs[o].slot), ";");
  close();
  print_stores(pass);
  if (by_rows_) close();
}

/// The sum of the squares of what differs from the mean, of the columns that the thread holds.
void Printer::print_variance(const RegionProgram::Instruction& step, size_t s) {
  line("const float mean", s, " = sum_of_group<", group_, ">(total", s, ") * ", inverse_width(),
       ";");
  line("float squares", s, " = 0.0f;");
  open(cat("LEV_UNROLLED for (int j = 0; j < ", chunks_, "; ++j)"));
  line("const int column = (j * ", group_, " + lane) * ", span_, ";");
  if (p_.width % tile_ != 0) line("if (column >= ", p_.width, ") continue;");
  if (is_operand(step.in[0])) print_load(static_cast<size_t>(slots(step.in[0]).input));
  open(cat("LEV_UNROLLED for (int i = 0; i < ", span_, "; ++i)"));
  line("const int e = j * ", span_, " + i;");
  line("(void)e;");
  line("const float apart = ", value(step.in[0]), " - mean", s, ";");
  line("squares", s, " += apart * apart;");
  close();
  close();
}

void Printer::print_row_outputs(const RegionProgram::Instruction& step, size_t s) {
  for (size_t i = 0; i < 2; ++i) {
    if (step.extra[i] < 0) continue;
    const auto& rows = p_.outputs[static_cast<size_t>(step.extra[i])].operand.rows;
    line("if (lane == 0) static_cast<float*>(a.out[", step.extra[i], "])[",
         offset_text(rows, "row"), "] = ", i == 0 ? "mean" : "rstd", s, ";");
  }
}

/// What the norms of a pass take over the whole row, after it.
void Printer::print_reductions(int pass) {
  const std::string inverse = inverse_width();
  for (size_t s = 0; s < p_.steps.size(); ++s) {
    const RegionProgram::Instruction& step = p_.steps[s];
    if (pass_of_[s] != pass) continue;
    if (step.kind == Kind::kNorm) {
      std::string squares = cat("total", s);
      if (step.centred) {
        print_variance(step, s);
        squares = cat("squares", s);
      } else {
        line("const float mean", s, " = 0.0f;");
      }
      line("const float rstd", s, " = 1.0f / sqrtf(sum_of_group<", group_, ">(", squares, ") * ",
           inverse, " + ", float_text(step.real), ");");
      print_row_outputs(step, s);
    } else if (step.kind == Kind::kNormGrad) {
      line("const float mean_g", s, " = ",
           step.centred ? cat("sum_of_group<", group_, ">(total_g", s, ") * ", inverse) : "0.0f",
           ";");
      line("const float mean_gx", s, " = sum_of_group<", group_, ">(total_gx", s, ") * ", inverse,
           ";");
    }
  }
}

/// Where one group takes all rows of a block: what it has summed of a part of them goes to the
/// rest.
void Printer::print_part() {
  open(cat("for (int e = 0; e < ", held(), "; ++e)"));
  for (const int sum : sums_) {
    line("total", sum, "[e] = part == 0 ? sum", sum, "[e] : total", sum, "[e] + sum", sum, "[e];");
    line("sum", sum, "[e] = part == ", kParts - 1, " ? total", sum, "[e] : 0.0f;");
  }
  close();
  close();
}

/// The sums of the block's groups in order.
void Printer::print_sums() {
  const int64_t groups = kThreads / group_, blocks = sum_blocks();
  line("LEV_SHARED(float, of_groups, ", groups * tile_, ");");
  for (const int sum : sums_) {
    open(cat("for (int j = 0; j < ", chunks_, "; ++j)"));
    line("const int first = (j * ", group_, " + lane) * ", span_, ";");
    line("for (int i = 0; i < ", span_, "; ++i) of_groups[group * ", tile_, " + first + i] = sum",
         sum, "[j * ", span_, " + i];");
    close();
    line("__syncthreads();");
    open(cat("for (int c = int(threadIdx.x); c < ", tile_, "; c += ", kThreads, ")"));
    const std::string first = p_.takes_rows ? "c" : cat("int(blockIdx.x) * ", tile_, " + c");
    line("float total = of_groups[c];");
    line("for (int g = 1; g < ", groups, "; ++g) total += of_groups[g * ", tile_, " + c];");
    line("const int column = ", first, ";");
    line("if (column < ", p_.width, ") a.sums[(", sum, " * ", blocks, " + int64_t(blockIdx.y)) * ",
         p_.width, " + column] = total;");
    close();
    line("__syncthreads();");
  }
}

std::string Printer::body() {
  if (!by_rows_) {
    const int64_t spans = p_.width / span_;
    open(cat("for (int64_t at = first_index(); at < ", items(), "; at += index_step())"));
    const bool small = p_.rows * p_.width <= INT32_MAX;
    line("const ", small ? "int" : "int64_t", " item = ", small ? "int(at)" : "at", ";");
    line("const int64_t row = item / ", spans, ";");
    line("const int64_t column = (item % ", spans, ") * ", span_, ";");
    line("(void)row, (void)column;");
    print_pointers();
    print_pass(0);
    close();
    return text_;
  }
  line("const int lane = int(threadIdx.x) % ", group_, ", group = int(threadIdx.x) / ", group_,
       ";");
  const int64_t groups = kThreads / group_;
  for (const int sum : sums_) line("float sum", sum, "[", held(), "] = {};");
  if (groups == 1)
    for (const int sum : sums_) line("float total", sum, "[", held(), "] = {};");
  if (sums_.empty())
    open(cat("for (int64_t row = int64_t(blockIdx.x) * ", groups, " + group; row < ", p_.rows,
             "; row += int64_t(gridDim.x) * ", groups, ")"));
  else {
    line("const int64_t begin = int64_t(blockIdx.y) * ", block_rows_, ", whole = begin + ",
         block_rows_, ";");
    line("const int64_t end = whole < ", p_.rows, " ? whole : ", p_.rows, ";");
    if (groups == 1) open(cat("for (int part = 0; part < ", kParts, "; ++part)"));
    open(cat("for (int64_t row = begin + ", groups == 1 ? "part" : "group",
             "; row < end; row += ", kParts, ")"));
  }
  print_pointers();
  for (size_t slot = 0; slot < p_.slots.size(); ++slot)
    if (p_.slots[slot].input < 0 && !p_.slots[slot].constant && made_[slot] != last_[slot])
      line("float held", slot, "[", held(), "];");
  for (size_t s = 0; s < p_.steps.size(); ++s) {
    const RegionProgram::Instruction& step = p_.steps[s];
    if (step.kind == Kind::kNorm) line("float total", s, " = 0.0f;");
    if (step.kind != Kind::kNormGrad) continue;
    line("float total_g", s, " = 0.0f, total_gx", s, " = 0.0f;");
    line("const float mean", s, " = ", row_value(step.in[2]), ";");
    line("const float rstd", s, " = ", row_value(step.in[3]), ";");
  }
  for (int pass = 0; pass < passes_; ++pass) {
    print_pass(pass);
    print_reductions(pass);
  }
  close();
  if (sums_.empty()) return text_;
  if (groups == 1) print_part();
  print_sums();
  return text_;
}

Grid Printer::grid() const {
  if (!by_rows_) return {};
  if (sums_.empty())
    return {{std::min<int64_t>(ceil_div(p_.rows, kThreads / group_), INT32_MAX), 1, 1}};
  const int64_t tiles = p_.takes_rows ? 1 : ceil_div(p_.width, tile_);
  return {{tiles, sum_blocks(), 1}};
}

}  // namespace

RegionText::RegionText(const RegionProgram& program) {
  Printer printer(program);
  const std::string body = printer.body();
  name = cat("region_", hex64(xxh3_64(body)));
  text = cat("#include \"kernels/cuda/device/region.cuh\"\nnamespace levanter::cuda::kernels {\n",
             "LEV_KERNEL(", name, ", RegionArguments) {\n", body, "}\n}\n");
  grid = printer.grid();
  items = printer.items();
  sum_blocks = printer.sum_blocks();
}

bool takes_rows_of(int64_t width) { return width <= kThreads * kMostHeld; }

}  // namespace levanter::cuda
