// Characters and their UTF-8 bytes.
#ifndef GLUON_RESNET_UTF8_H_
#define GLUON_RESNET_UTF8_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace gluon_resnet {

// The number of bytes, 1 to 4, of the UTF-8 character at the start of `text`; 0 if there is none.
size_t utf8_length(std::string_view text);

// Appends the bytes of a character; a lone surrogate has three.
void append_utf8(char32_t letter, std::string* text);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_UTF8_H_
