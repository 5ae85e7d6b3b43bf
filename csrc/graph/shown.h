// Text from a file in a sentence.
#ifndef GLUON_RESNET_SHOWN_H_
#define GLUON_RESNET_SHOWN_H_

#include <string>
#include <string_view>

#include "base/printable.h"

namespace gluon_resnet {

// One line, of the length of a name; as `printable` of Python with MOST_OF_A_NAME.
inline std::string shown(std::string_view text) {
  return printable(std::string(text), kMostOfAName);
}

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_SHOWN_H_
