/* Text out of UTF-8, as objects of Python.

   Python decodes UTF-8 into memory for the longest text that there may be, widens it when the first wide
   character comes, and cuts it to size at the end. To check and measure the text first takes less time, as
   both go over many bytes at once. */

#include "text.h"

#include "utf8.h"

PyObject *
text_from_valid(const uint8_t *data, size_t length)
{
    struct utf8_size size = utf8_measure(data, length);
    Py_UCS4 greatest = size.width == 4 ? 0x10FFFF : size.width == 2 ? 0xFFFF : 0xFF;
    if (size.characters == length) {
        greatest = 0x7F;
    }
    PyObject *text = PyUnicode_New((Py_ssize_t)size.characters, greatest);
    if (text == NULL) {
        return NULL;
    }
    if (size.width == 4) {
        utf8_decode_4(data, length, PyUnicode_4BYTE_DATA(text));
    } else if (size.width == 2) {
        utf8_decode_2(data, length, PyUnicode_2BYTE_DATA(text));
    } else {
        utf8_decode_1(data, length, PyUnicode_1BYTE_DATA(text));
    }
    return text;
}

PyObject *
text_from_utf8(const uint8_t *data, size_t length)
{
    struct utf8_state state = {0};
    if (!utf8_check(&state, data, length) || state.expected != 0) {
        return NULL;
    }
    return text_from_valid(data, length);
}
