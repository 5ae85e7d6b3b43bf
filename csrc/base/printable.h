// Makes text from outside safe for a terminal.
#ifndef GLUON_RESNET_PRINTABLE_H_
#define GLUON_RESNET_PRINTABLE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace gluon_resnet {

constexpr size_t kMostPrinted = 4096;  // characters: no path is longer
constexpr size_t kMostOfAName = 80;    // in a sentence

// `text` as one line: characters that a terminal would obey, or not show, are escaped as in JSON,
// "\n" or "\u001b", and bytes that are not UTF-8 as "\udc80" to "\udcff". JSON text stays
// equivalent JSON. The middle of a text with more than `most` characters is left out. The result
// equals that of gluon_resnet/terminal.py to the byte.
std::string printable(const std::string& text, size_t most = kMostPrinted);

// A name from a file, for use in a sentence.
inline std::string printable_name(std::string_view name) {
  return printable(std::string(name), kMostOfAName);
}

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PRINTABLE_H_
