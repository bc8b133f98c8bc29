// What each vector_*.cpp contributes to its instruction set's table; for those files only.
#pragma once

#include "kernels/cpu/vector.h"
#include "kernels/cpu/vector_isa.h"

namespace levanter::cpu::LEVANTER_ISA {

void fill_bf16(VectorKernels& table);
void fill_small_m(VectorKernels& table);
void fill_product(VectorKernels& table);
void fill_pairs(VectorKernels& table);
void fill_map(VectorKernels& table);
void fill_reduce(VectorKernels& table);
void fill_norm(VectorKernels& table);
void fill_softmax(VectorKernels& table);
void fill_random(VectorKernels& table);
void fill_rows(VectorKernels& table);
void fill_transpose(VectorKernels& table);
/// All of them.
void fill_table(VectorKernels& table);

}  // namespace levanter::cpu::LEVANTER_ISA
