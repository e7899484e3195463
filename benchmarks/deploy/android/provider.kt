package android.provider

import android.content.ContentResolver
import android.graphics.Bitmap
import android.net.Uri

object MediaStore { object Images { object Media { fun getBitmap(resolver: ContentResolver, uri: Uri): Bitmap = TODO() } } }
