// Every text of standard input as csrc/base/printable makes it: test_terminal.py compares it with
// Python.
//
// A text is its length in bytes and the number of letters that are shown, in a line, and its bytes;
// so is the answer, of the length alone.
#include "base/printable.h"

#include <cstdio>
#include <string>

int main() {
  size_t length = 0, most = 0;
  while (std::scanf("%zu %zu", &length, &most) == 2 && std::getchar() == '\n') {
    std::string text(length, '\0');
    if (std::fread(&text[0], 1, length, stdin) != length) return 1;
    const std::string result = gluon_resnet::printable(text, most);
    std::printf("%zu\n%s", result.size(), result.c_str());
  }
  return 0;
}
