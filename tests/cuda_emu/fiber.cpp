#include "tests/cuda_emu/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>

namespace simt {

#ifdef SIMT_UCONTEXT

void make_context(Context& context, char* stack, std::size_t size, void (*entry)()) {
  getcontext(&context.ucontext);
  context.ucontext.uc_stack.ss_sp = stack;
  context.ucontext.uc_stack.ss_size = size;
  context.ucontext.uc_link = nullptr;
  makecontext(&context.ucontext, entry, 0);
}

void switch_context(Context& from, Context& to) { swapcontext(&from.ucontext, &to.ucontext); }

#else

// Saves the registers that a function must preserve (System V ABI) and exchanges the stacks.
extern "C" void simt_switch_stacks(void** save, void* load);
asm(R"(
.text
.globl simt_switch_stacks
.type simt_switch_stacks, @function
simt_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  retq
.size simt_switch_stacks, . - simt_switch_stacks
)");

void make_context(Context& context, char* stack, std::size_t size, void (*entry)()) {
  constexpr int kSavedRegisters = 6;
  const auto end = reinterpret_cast<std::uintptr_t>(stack + size) & ~std::uintptr_t(15);
  auto** top = reinterpret_cast<void**>(end);
  *--top = nullptr;  // where entry would return to: ends a debugger's walk
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kSavedRegisters; ++i) *--top = nullptr;
  context.stack_pointer = top;
}

void switch_context(Context& from, Context& to) {
  simt_switch_stacks(&from.stack_pointer, to.stack_pointer);
}

#endif

namespace {
std::size_t page() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }
}  // namespace

Fiber::Fiber(void (*entry)()) : entry_(entry) {
  void* memory = mmap(nullptr, page() + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory for the stack of a CUDA thread");
  mprotect(memory, page(), PROT_NONE);
  stack_ = static_cast<char*>(memory) + page();
  reset();
}

Fiber::~Fiber() { munmap(stack_ - page(), page() + kStackBytes); }

void Fiber::reset() { make_context(context, stack_, kStackBytes, entry_); }

}  // namespace simt
