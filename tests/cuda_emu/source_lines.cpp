#include "tests/cuda_emu/source_lines.h"

#include <fmt/format.h>
#include <link.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <vector>

namespace simt {

namespace {

struct Frame {
  std::string function, path;
  int line = 0;
};

std::string where(const Frame& frame) {
  const auto slash = frame.path.rfind('/');
  const std::string file = slash == std::string::npos ? frame.path : frame.path.substr(slash + 1);
  return fmt::format("{}:{}", file, frame.line);
}

std::string source_text(const std::string& path, int line) {
  std::ifstream in(path);
  std::string text;
  for (int i = 0; i < line; ++i)
    if (!std::getline(in, text)) return "";
  const auto first = text.find_first_not_of(" \t");
  return first == std::string::npos ? "" : text.substr(first);
}

// Where the program was loaded: the addresses in its file begin at 0.
std::uintptr_t load_address() {
  std::uintptr_t address = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        *static_cast<std::uintptr_t*>(result) = info->dlpi_addr;
        return 1;  // the first one is the program
      },
      &address);
  return address;
}

Frame parse_frame(const std::string& function, const std::string& place) {
  Frame frame{function, place, 0};
  const auto colon = place.rfind(':');
  if (colon == std::string::npos) return frame;
  frame.path = place.substr(0, colon);
  frame.line = std::atoi(place.c_str() + colon + 1);  // ignores " (discriminator 2)"
  return frame;
}

// For each address the function that it is in, then those into which that one was inlined.
std::vector<std::vector<Frame>> addr2line(const std::vector<std::uintptr_t>& addresses) {
  std::ostringstream command;
  command << "addr2line -aCfi -e /proc/" << getpid() << "/exe" << std::hex;
  for (const auto address : addresses) command << " 0x" << address;
  std::string output;
  if (FILE* pipe = popen(command.str().c_str(), "r")) {
    char buffer[4096];
    while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe))
      output.append(buffer, n);
    pclose(pipe);
  }
  std::vector<std::vector<Frame>> frames;
  std::istringstream lines(output);
  std::string line, place;
  while (std::getline(lines, line)) {
    if (line.rfind("0x", 0) == 0)
      frames.emplace_back();
    else if (std::getline(lines, place))
      frames.back().push_back(parse_frame(line, place));
  }
  frames.resize(addresses.size());
  return frames;
}

// The kernel's own line rather than one of the emulator's headers.
bool in_fake_header(const Frame& frame) {
  return frame.path.find("/cuda_emu/include/") != std::string::npos;
}

SourceLine source_line(std::vector<Frame> frames) {
  while (frames.size() > 1 && in_fake_header(frames.front())) frames.erase(frames.begin());
  if (frames.empty() || frames.front().line == 0) return {"?", "", ""};
  const Frame& inner = frames.front();
  SourceLine line{where(inner), "", source_text(inner.path, inner.line)};
  if (frames.size() > 1) line.inlined_at = where(frames.back());
  return line;
}

// "void ns::kernel<float, (ns::Kind)1>(float*, int)" -> "kernel<float, (ns::Kind)1>"
std::string without_decoration(const std::string& name) {
  std::size_t begin = 0, end = 0;
  for (int depth = 0; end < name.size(); ++end) {
    const char c = name[end];
    if (c == '<') ++depth;
    if (c == '>') --depth;
    if (depth > 0) continue;
    if (c == '(') break;
    if (c == ' ' || c == ':') begin = end + 1;
  }
  return name.substr(begin, end - begin);
}

std::map<const void*, SourceLine>& known_lines() {
  static std::map<const void*, SourceLine> lines;
  return lines;
}

}  // namespace

void look_up(std::span<const void* const> codes) {
  std::vector<const void*> unknown;
  std::vector<std::uintptr_t> addresses;
  const std::uintptr_t base = load_address();
  for (const void* code : codes) {
    if (code == nullptr || known_lines().count(code) != 0) continue;
    unknown.push_back(code);
    addresses.push_back(reinterpret_cast<std::uintptr_t>(code) - 1 - base);  // a return address
  }
  if (unknown.empty()) return;
  const auto frames = addr2line(addresses);
  for (std::size_t i = 0; i < unknown.size(); ++i)
    known_lines()[unknown[i]] = source_line(frames[i]);
}

SourceLine line_of(const Place& place) {
  if (place.site.file != nullptr) {
    const Frame frame{"", place.site.file, place.site.line};
    return {where(frame), "", source_text(frame.path, frame.line)};
  }
  if (place.code == nullptr) return {};
  SourceLine line;
  if (kernel_source() != nullptr && kernel_source()->locate(place.code, line.where, line.source))
    return line;
  look_up(std::span(&place.code, 1));
  return known_lines()[place.code];
}

std::string function_name(const void* function) {
  static std::map<const void*, std::string> names;
  const auto known = names.find(function);
  if (known != names.end()) return known->second;
  const auto frames = addr2line({reinterpret_cast<std::uintptr_t>(function) - load_address()});
  const std::string name = frames[0].empty() ? "" : without_decoration(frames[0].back().function);
  names.emplace(function, name);
  return name;
}

}  // namespace simt
