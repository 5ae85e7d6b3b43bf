// Text from a file, as a message shows it.
#ifndef GLUON_RESNET_SHOWN_H_
#define GLUON_RESNET_SHOWN_H_

#include <string>
#include <string_view>

namespace gluon_resnet {

// The first 80 bytes of it, with '?' in the place of each that is no printable ASCII.
inline std::string shown(std::string_view text) {
  constexpr size_t kMost = 80;
  std::string result;
  for (const char letter : text.substr(0, kMost)) {
    result += letter >= ' ' && letter <= '~' ? letter : '?';
  }
  return text.size() > kMost ? result + "..." : result;
}

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_SHOWN_H_
