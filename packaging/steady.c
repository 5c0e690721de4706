/* For packaging/steady.sh: whoever asks for random numbers gets the same ones every time. */
#include <string.h>
#include <sys/types.h>

ssize_t getrandom(void *buffer, size_t length, unsigned flags)
{
	(void)flags;
	memset(buffer, 0, length);
	return (ssize_t)length;
}
