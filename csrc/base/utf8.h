// Letters and their bytes.
#ifndef GLUON_RESNET_UTF8_H_
#define GLUON_RESNET_UTF8_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace gluon_resnet {

// The bytes of the UTF-8 letter at the front of `text`, 1 to 4; 0 where there is none.
size_t utf8_length(std::string_view text);

// Adds the bytes of a letter; half of a surrogate pair has three.
void append_utf8(char32_t letter, std::string* text);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_UTF8_H_
