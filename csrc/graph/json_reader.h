// JSON, read strictly and once, from the front to the back: who reads asks for what has to come
// next.
//
// Nothing is built of what nobody asks for, so that memory and time are those of the text, and
// depth is that of the reader's own code. The extension has no JSON library: who builds it from
// source needs none.
#ifndef GLUON_RESNET_JSON_READER_H_
#define GLUON_RESNET_JSON_READER_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace gluon_resnet {

// Every function throws Error(kModel), which says at which byte: "this is not JSON: ..." or, where
// another value was expected, "expected ..., found ...".
class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  // An object; each(key) has to read the value. A key that comes twice is refused: readers differ
  // in which of the two counts. `what` says in an error what was expected.
  template <typename Each>
  void object(const char* what, Each each) {
    expect('{', what);
    std::set<std::string> keys;
    for (bool more = !closes('}'); more; more = goes_on('}')) {
      const size_t start = offset_;
      const std::string key = string("a key");
      if (!keys.insert(key).second) refuse_second(key, start);
      skip_space();
      require(':');
      each(key);
    }
  }

  // An array; each(index) has to read a value.
  template <typename Each>
  void array(const char* what, Each each) {
    expect('[', what);
    size_t index = 0;
    for (bool more = !closes(']'); more; more = goes_on(']')) each(index++);
  }

  std::string string(const char* what);  // in UTF-8
  int64_t integer(const char* what);     // of at most 18 digits
  void skip();                           // any value, of at most 64 levels
  void end();                            // nothing but space may follow
  char peek();                           // the first byte of the next value; '\0' at the end

  // Throws "expected WHAT, found the value that is here".
  [[noreturn]] void refuse(const char* what);

  size_t offset() const { return offset_; }

 private:
  [[noreturn]] void fail(const std::string& message, size_t offset) const;
  [[noreturn]] void refuse_second(const std::string& key, size_t offset) const;
  void expect(char first, const char* what);
  void require(char letter);
  bool closes(char letter);
  bool goes_on(char letter);
  void skip_space();
  void skip(int depth);
  std::string_view number();
  uint32_t hexadecimal();
  void escape(std::string* value);

  std::string_view text_;
  size_t offset_ = 0;
};

// As JSON has it, between quotes; `text` is UTF-8.
std::string json_quoted(std::string_view text);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_JSON_READER_H_
