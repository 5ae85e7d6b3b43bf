// Text from outside for a terminal.
#ifndef GLUON_RESNET_PRINTABLE_H_
#define GLUON_RESNET_PRINTABLE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace gluon_resnet {

constexpr size_t kMostPrinted = 4096;  // letters: no path is longer
constexpr size_t kMostOfAName = 80;    // in a sentence

// `text` as one line: what a terminal would obey, or not show, stands there as JSON spells it, "\n"
// or "\u001b", and a byte that is no UTF-8 as "\udc80" to "\udcff". A text that is JSON stays the
// same JSON. Of more than `most` letters the middle is left out. To the byte as
// gluon_resnet/terminal.py does.
std::string printable(const std::string& text, size_t most = kMostPrinted);

// A name out of a file for a sentence.
inline std::string printable_name(std::string_view name) {
  return printable(std::string(name), kMostOfAName);
}

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PRINTABLE_H_
