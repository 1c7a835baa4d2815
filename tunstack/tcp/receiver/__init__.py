"""The receiving half: RCV variables, the window, reassembly, when to acknowledge.

receiver        the half itself
receive_buffer  data in order, unread
reassembly      data beyond a gap
buffer_tuning   how large the buffers grow where nobody has set them
urgent          urgent data (RFC 6093)
"""
